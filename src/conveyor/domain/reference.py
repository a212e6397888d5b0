"""References: how a version of a dataset is named, by people and programs, on the command line, over HTTP, in Python.

transactions                     the newest version
transactions@latest              the same
transactions@v12                 version 12
transactions@golden              the version that the tag `golden` points to
transactions@2018-05-01          the newest version that was known at that time, here the start of that day in UTC
transactions@2018-05-01T06:30    the same, to the minute (or second); an offset such as +02:00 may follow
shop/transactions@v12            of a project, where there are several
predictions/fraud                what the model fraud answered; with a project shop/predictions/fraud
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from conveyor.domain.families import FAMILIES
from conveyor.errors import InputRejected

LATEST = "latest"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_TAG = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)
_NUMBER = re.compile(r"v([0-9]+)", re.ASCII)
_MOST = 9  # digits of a number
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """At most one of `version`, `tag` and `moment` is set; none of them means the newest version."""

    name: str
    project: str = ""
    version: int | None = None
    tag: str = ""
    moment: datetime | None = None

    def __str__(self) -> str:
        """As it is written; `parse` reads it back to the same."""
        name = f"{self.project}/{self.name}" if self.project else self.name
        return f"{name}@{self.which}" if self.which != LATEST else name

    @property
    def which(self) -> str:
        """What follows the @."""
        if self.version is not None:
            return f"v{self.version}"
        if self.moment is not None:
            return self.moment.isoformat()
        return self.tag or LATEST


def parse(text: str) -> Reference:
    """Raises InputRejected, which says what a reference may be."""
    name, at, which = text.partition("@")
    project, slash, dataset = name.rpartition("/")
    right = bool(_NAME.fullmatch(dataset))
    before, _, family = project.rpartition("/")
    if slash and family in FAMILIES:
        slash, project, dataset = before, before, f"{family}/{dataset}"
    if not right or (slash and not _NAME.fullmatch(project)):
        raise _wrong(text, f"{name[:80]!r} is not the name of a dataset")
    if at and not which:
        raise _wrong(text, "nothing follows the @")
    if which in ("", LATEST):
        return Reference(dataset, project)
    if number := _NUMBER.fullmatch(which):
        if len(number[1]) > _MOST or int(number[1]) == 0:
            raise _wrong(text, "versions are counted from 1")
        return Reference(dataset, project, version=int(number[1]))
    if _TIME.fullmatch(which):
        return Reference(dataset, project, moment=_moment(text, which))
    if not is_tag(which):
        raise _wrong(text, f"{which[:80]!r} is no version, tag or time")
    return Reference(dataset, project, tag=which)


def is_tag(text: str) -> bool:
    """Whether a tag may have this name: it must not read as anything else that follows an @."""
    return bool(_TAG.fullmatch(text)) and text != LATEST and not _NUMBER.fullmatch(text)


def newest_at(moment: datetime, newest: int, created: Callable[[int], datetime | None]) -> int | None:
    """The number of the newest version of 1..newest that was created at `moment` or before; None if there was none.

    `created` says when a version was, or None where it is gone; times grow with numbers, so some looks are enough.
    """
    low, high = 0, newest
    while low < high:
        middle = there = (low + high + 1) // 2
        while there > low and created(there) is None:
            there -= 1
        when = created(there) if there > low else None
        if when is None or when <= moment:
            low = middle
        else:
            high = there - 1
    while low and created(low) is None:
        low -= 1
    return low or None


def _moment(text: str, which: str) -> datetime:
    try:
        found = datetime.fromisoformat(which)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _wrong(text, f"{which} is no date or time") from error


def _wrong(text: str, why: str) -> InputRejected:
    return InputRejected(
        f"{text[:120]!r} does not name a version: {why}",
        hint="Write NAME, NAME@latest, NAME@v12, NAME@TAG or NAME@2018-05-01T00:00.",
    )
