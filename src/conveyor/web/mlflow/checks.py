"""What MLflow's server checks before it writes: names, lengths, and how much comes at once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterable

from conveyor.domain.tracked import Pair, Point
from conveyor.errors import InputRejected

_NAME = re.compile(r"[/\w.\- :]+")
_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 8000
_METRICS, _PAIRS, _ENTITIES = 1000, 100, 1000


def name(given: str, what: str) -> None:
    if not _NAME.fullmatch(given):
        raise _bad(
            f"Invalid {what} name: {given[:100]!r}. Names may only contain alphanumerics, underscores (_), dashes (-), "
            "periods (.), spaces ( ), colon(:) and slashes (/)."
        )
    if len(given) > _LONGEST_KEY:
        raise _bad(f"{what} name of {len(given)} characters exceeds the maximum length of {_LONGEST_KEY}")
    normal = posixpath.normpath(given)
    if normal != given or normal == "." or normal.startswith(("..", "/")):
        raise _bad(f"Invalid {what} name: {given!r}. Names are treated as file paths, and this one is not unique.")


def params(given: Iterable[Pair]) -> list[Pair]:
    return [_pair(pair, "Param", _LONGEST_PARAM) for pair in given]


def tags(given: Iterable[Pair]) -> list[Pair]:
    return [_pair(pair, "Tag", _LONGEST_TAG) for pair in given]


def metrics(given: Iterable[Point], known: Container[str]) -> None:
    for point in given:
        if point.key not in known:
            name(point.key, "Metric")


def batch(points: int, params_: int, tags_: int) -> None:
    for what, count, most in (("metrics", points, _METRICS), ("params", params_, _PAIRS), ("tags", tags_, _PAIRS)):
        if count > most:
            raise _bad(f"A batch logging request can contain at most {most} {what}. Got {count} {what}.")
    if points + params_ + tags_ > _ENTITIES:
        raise _bad(f"A batch logging request can contain at most {_ENTITIES} metrics, params, and tags.")


def at_most(given: int | None, default: int, most: int) -> int:
    """How many results a page holds."""
    if given is None:
        return default
    if not 0 < given <= most:
        raise _bad(f"Invalid value {given} for parameter 'max_results'. It must be a positive integer, at most {most}.")
    return given


def _pair(pair: Pair, what: str, longest: int) -> Pair:
    name(pair.key, what)
    return pair if len(pair.value) <= longest else Pair(pair.key, pair.value[:longest])


def _bad(message: str) -> InputRejected:
    return InputRejected(message, hint="docs/tracking.md names the limits.")
