"""Paths and links that stay inside their dataset, whoever wrote them."""

from __future__ import annotations

import posixpath

from conveyor.errors import Refused
from conveyor.stores.data.scan import LEFT_OUT, LONGEST, show


def stays_inside(path: bytes, leads: bytes) -> bool:
    """Whether a link at `path` that leads to `leads` stays inside the dataset, read as text: nothing is followed."""
    if not leads or leads.startswith(b"/") or b"\0" in leads:
        return False
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), leads))
    return end != b".." and not end.startswith((b"../", b"/"))


def check_path(path: bytes) -> None:
    """Refused for a path that would leave the folder it is checked out to, or reach into a tool's own folder there.

    The trees that `add` makes have none: one that has was made by somebody else.
    """
    parts = path.split(b"/")
    if any(part in (b"", b".", b"..") for part in parts) or b"\0" in path or len(path) > 2 * LONGEST:
        raise Refused(f"the path {show(path)[:200]} leads out of the dataset", hint=_HINT)
    if any(part in LEFT_OUT for part in parts[:-1]) or parts[0] in LEFT_OUT:
        raise Refused(f"the path {show(path)[:200]} is in a tool's own folder", hint=_HINT)


_HINT = "Nothing of it was written. No `conveyor data add` made this version: look at where it comes from."
