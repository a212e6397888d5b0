"""One thing that is wrong in a `conveyor.toml`: where, and why."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[str, ...]
"""The keys from the top of the file down: ("model", "fraud", "gates")."""

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    at: Place
    cause: str

    def __str__(self) -> str:
        return f"{dotted(self.at)}: {self.cause}"


def dotted(at: Place) -> str:
    """The place as TOML writes it; a key that is not a bare one is quoted."""
    return ".".join(key if _BARE.fullmatch(key) else json.dumps(key) for key in at)


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`; did you mean "fraud"?`, or what there is to choose from, or that there is nothing."""
    names = sorted(known)
    if not names:
        return "; there are none"
    close = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    if close:
        return f'; did you mean "{close[0]}"?'
    return "; known: " + ", ".join(names)
