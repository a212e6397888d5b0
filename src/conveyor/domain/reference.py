"""How a dataset version is named: `images`, `images@v12`, `images@latest`, `images@clean`, `images@2026-05-01`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from conveyor.errors import InputRejected

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_NUMBER = re.compile(r"v([1-9][0-9]{0,8})", re.ASCII)
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """At most one of `number`, `tag` and `moment` is given; none of them means the newest version.

    `project` is empty where it was not said. `moment` has a time zone; it means the version that was the newest then.
    """

    name: str
    project: str = ""
    number: int | None = None
    tag: str = ""
    moment: datetime | None = None

    def __str__(self) -> str:
        name = f"{self.project}/{self.name}" if self.project else self.name
        if self.number is not None:
            return f"{name}@v{self.number}"
        return f"{name}@{self.tag or (self.moment.isoformat() if self.moment else LATEST)}"


def parse_reference(text: str) -> Reference:
    """The reference that `text` says; InputRejected where it says none. A time without a zone is taken as UTC."""
    whole, at, what = text.partition("@")
    project, _, name = whole.rpartition("/")
    check_name(name, "dataset")
    if project:
        check_name(project, "project")
    if not at or what == LATEST:
        return Reference(name, project)
    if found := _NUMBER.fullmatch(what):
        return Reference(name, project, number=int(found[1]))
    if what[:4].isdigit() and what[4:5] == "-":
        try:
            moment = datetime.fromisoformat(what)
        except ValueError:
            raise InputRejected(
                f"{what!r} is no time", hint=f"Write it as {name}@2026-05-01 or {name}@2026-05-01T14:30."
            ) from None
        return Reference(name, project, moment=moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    check_name(what, "tag")
    return Reference(name, project, tag=what)


def check_name(name: str, what: str) -> None:
    """Names become keys and file names: letters, digits, dot, dash and underscore."""
    if not _NAME.fullmatch(name):
        raise InputRejected(
            f"{name!r} is no name for a {what}",
            hint="Letters, digits, '.', '-' and '_', at most 100; it starts with a letter, a digit or '_'.",
        )


def check_tag(tag: str) -> None:
    """A tag may not look like something else that stands behind an @."""
    check_name(tag, "tag")
    if tag == LATEST or _NUMBER.fullmatch(tag) or (tag[:4].isdigit() and tag[4:5] == "-"):
        raise InputRejected(
            f"{tag!r} cannot be a tag: it would read as a version or a time", hint="Choose a word, such as clean."
        )
