"""Versions and tags of datasets of files: documents that are created once, found at a cost that no history changes.

A version's number is taken by creating its document where there is none: of any number of writers exactly one gets
it, on every backend, without a lock. `head` is a hint where the newest one is, or a little before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime

from conveyor.domain.files_version import FilesVersion
from conveyor.domain.reference import Reference, is_tag, newest_at
from conveyor.errors import Conflict, CorruptObject, InputRejected, NotFound
from conveyor.stores.data.backend import Backend

VERSIONS, HEADS, TAGS = "versions/", "head/", "tags/"


class Versions:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def datasets(self) -> list[tuple[str, str]]:
        """(project, name) of every dataset."""
        found = [tuple(item.key.split("/")[1:]) for item in self._backend.list(HEADS)]
        return sorted((each[0], each[1]) for each in found if len(each) == 2)

    def newest(self, project: str, name: str) -> int:
        """The number of the newest version, removed or not; 0 where there is none."""
        try:
            number = int(self._backend.get(f"{HEADS}{project}/{name}"))
        except (NotFound, ValueError):
            number = 0
        while self._backend.head(_key(project, name, number + 1)) is not None:
            number += 1
        return number

    def get(self, project: str, name: str, number: int) -> FilesVersion:
        key = _key(project, name, number)
        try:
            raw = self._backend.get(key)
        except NotFound:
            raise NotFound(
                f"there is no version {number} of {project}/{name}", hint=f"See `conveyor data log {name}`."
            ) from None
        try:
            return decoded(raw)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptObject(
                f"the document of version {number} of {project}/{name} does not read: {error}",
                hint="`conveyor data verify --repair` takes a good copy from a remote.",
            ) from error

    def create(self, version: FilesVersion) -> bool:
        """False when that number is taken."""
        if not self._backend.create(_key(version.project, version.name, version.version), encoded(version)):
            return False
        self._hint(version)
        return True

    def remove(self, version: FilesVersion, now: datetime) -> None:
        """Its number and its story stay; what only it needed is deleted by gc."""
        tagged = [tag for tag, number in self.tags(version.project, version.name).items() if number == version.version]
        if tagged:
            raise Conflict(
                f"version {version.version} of {version.name} is tagged {', '.join(tagged)}",
                hint=f"Remove the tag first: conveyor data tag {version.name} {tagged[0]} --remove",
            )
        self.replace(replace(version, removed=now))

    def replace(self, version: FilesVersion) -> None:
        self._backend.put(_key(version.project, version.name, version.version), [encoded(version)])
        if self._backend.head(f"{HEADS}{version.project}/{version.name}") is None:
            self._hint(version)

    def page(self, project: str, name: str, *, before: int | None = None, limit: int = 20) -> Iterator[FilesVersion]:
        """Newest first, from the one before `before` on."""
        start = self.newest(project, name) if before is None else before - 1
        for number in range(start, max(0, start - limit), -1):
            yield self.get(project, name, number)

    def resolve(self, project: str, reference: Reference) -> FilesVersion:
        """The version that a reference means; NotFound where there is none, or where it was removed."""
        name = reference.name
        if reference.version is not None:
            found = self.get(project, name, reference.version)
        elif reference.tag:
            found = self.get(project, name, self._tagged(project, name, reference.tag))
        else:
            found = self._live(project, name, reference.moment)
        if found.removed is not None:
            raise NotFound(
                f"version {found.version} of {name} was removed on {found.removed:%Y-%m-%d}",
                hint=f"`conveyor data log {name}` shows those that are there.",
            )
        return found

    def tip(self, project: str, name: str) -> tuple[int, FilesVersion | None]:
        """The newest number, and the newest version up to it that was not removed: what a new version is made from."""
        number = newest = self.newest(project, name)
        while number:
            found = self.get(project, name, number)
            if found.removed is None:
                return newest, found
            number -= 1
        return newest, None

    def tags(self, project: str, name: str) -> dict[str, int]:
        prefix = f"{TAGS}{project}/{name}/"
        keys = [item.key for item in self._backend.list(prefix)]
        return {key.removeprefix(prefix): int(self._backend.get(key)) for key in sorted(keys)}

    def tag(self, version: FilesVersion, tag: str, *, move: bool = False) -> None:
        """Conflict where the tag stands at another version, unless it is to be moved."""
        if not is_tag(tag):
            raise InputRejected(f"{tag!r} cannot be a tag", hint="Choose a word in small letters, such as clean.")
        key, value = f"{TAGS}{version.project}/{version.name}/{tag}", str(version.version).encode()
        if move:
            self._backend.put(key, [value])
        elif not self._backend.create(key, value) and (there := self._backend.get(key)) != value:
            raise Conflict(
                f"{tag} is version {there.decode()} of {version.name} already",
                hint="Choose another word, or move it with --move.",
            )

    def untag(self, project: str, name: str, tag: str) -> None:
        self._tagged(project, name, tag)
        self._backend.delete(f"{TAGS}{project}/{name}/{tag}")

    def _tagged(self, project: str, name: str, tag: str) -> int:
        try:
            return int(self._backend.get(f"{TAGS}{project}/{name}/{tag}"))
        except NotFound:
            known = ", ".join(self.tags(project, name)) or "none"
            raise NotFound(
                f"{name} has no tag {tag!r}", hint=f"Its tags: {known}. A version is written {name}@v3."
            ) from None

    def _live(self, project: str, name: str, moment: datetime | None) -> FilesVersion:
        if moment is None:
            _, found = self.tip(project, name)
        else:
            number = newest_at(moment, self.newest(project, name), lambda each: self._created(project, name, each))
            found = self.get(project, name, number) if number else None
        if found is None:
            when = f"there was no version of {name} at {moment.isoformat()}" if moment else f"{name} has no version"
            raise NotFound(when, hint=_HINT)
        return found

    def _created(self, project: str, name: str, number: int) -> datetime | None:
        """None for one that was removed: a moment names the newest that is still there."""
        version = self.get(project, name, number)
        return version.created if version.removed is None else None

    def _hint(self, version: FilesVersion) -> None:
        self._backend.put(f"{HEADS}{version.project}/{version.name}", [str(version.version).encode()])


def encoded(version: FilesVersion) -> bytes:
    """As `domain.wire` would write it, without its import: that alone takes longer than adding a thousand files."""
    values = {field.name: getattr(version, field.name) for field in fields(version)}
    return json.dumps(values, sort_keys=True, default=datetime.isoformat).encode()


def decoded(raw: bytes) -> FilesVersion:
    """ValueError, TypeError or KeyError where it is no version's document."""
    values = json.loads(raw)
    known = {field.name for field in fields(FilesVersion)}
    values = {name: value for name, value in values.items() if name in known}
    for name in ("created", "removed"):
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    return FilesVersion(**values)


_HINT = "`conveyor data add NAME PATH` makes one; `conveyor data pull NAME` takes those of a remote."


def _key(project: str, name: str, number: int) -> str:
    return f"{VERSIONS}{project}/{name}/{number:09d}"
