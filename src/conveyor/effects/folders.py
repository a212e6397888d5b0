"""A watched pattern of files: what is new or changed since the last look, at a cost that does not grow with the rest.

A folder whose time of change is the one of the last look has no new, renamed or removed files, so it is not read again;
files that were changed in place are found by a full look, now and then. Links are not followed out of the folder that
the pattern begins with, and linked folders are not entered, so no loop is ever walked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from conveyor.domain.landing import told

_COARSE = 2.0  # seconds: a folder changed so shortly before a look may change again without its time telling
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that matches. `problem`: why it cannot be taken."""

    path: str  # as the system knows it, maybe not as text
    name: str  # below the root, see `told`
    stamp: str
    problem: str = ""
    real: str = ""  # the path without any link, as it was at the look

    @property
    def file(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass(slots=True)
class _Folder:
    modified: int
    read: float
    folders: tuple[str, ...] = ()


@dataclass(slots=True)
class Look:
    changed: list[Entry] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # of a full look: all that match


class Pattern:
    """One pattern below `root`, such as `incoming/**/*.csv`. `*` matches no name that begins with a dot."""

    def __init__(self, root: Path, pattern: str) -> None:
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        parts += ["*"] if parts[-1] == "**" else []
        fixed = next((place for place, part in enumerate(parts[:-1]) if _magic(part)), len(parts) - 1)
        self._root = root
        self._base = str(root.joinpath(*parts[:fixed]))
        self._parts = [None if part == "**" else re.compile(translate(part)) for part in parts[fixed:]]
        self._folders: dict[str, _Folder] = {}

    def look(self, known: Mapping[str, str], *, full: bool) -> Look:
        """`known`: the stamps of what was dealt with, by name."""
        seen, base = Look(), os.path.realpath(self._base)
        todo: dict[str, set[int]] = {self._base: {0}}
        found: dict[str, _Folder] = {}
        while todo:
            folder, places = todo.popitem()
            places = self._with_skips(places)
            with contextlib.suppress(OSError):  # gone, or closed to us
                found[folder] = self._folder(folder, places, known, base, seen, full=full)
                for name in found[folder].folders:
                    if below := self._below(name, places):
                        todo.setdefault(f"{folder}/{name}", set()).update(below)
        self._folders = found
        return seen

    def _with_skips(self, places: set[int]) -> set[int]:
        """`**` also stands for no folder at all."""
        for place in sorted(places):
            if self._parts[place] is None:
                places.add(place + 1)
        return places

    def _below(self, name: str, places: set[int]) -> set[int]:
        below = {place for place in places if self._parts[place] is None}
        last = len(self._parts) - 1
        return below | {p + 1 for p in places if p < last and (part := self._parts[p]) and part.match(name)}

    def _folder(
        self, folder: str, places: set[int], known: Mapping[str, str], base: str, seen: Look, *, full: bool
    ) -> _Folder:
        modified, now = os.stat(folder).st_mtime_ns, time.time()  # noqa: PTH116 - a path may be no text
        last = self._folders.get(folder)
        if not full and last and last.modified == modified and last.read - modified / 1e9 > _COARSE:
            return last
        final = len(self._parts) - 1
        wanted = self._parts[final] if final in places else None
        folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif wanted is not None and wanted.match(entry.name):
                    self._file(entry, known, base, seen)
        return _Folder(modified, now, tuple(folders))

    def _file(self, entry: os.DirEntry[str], known: Mapping[str, str], base: str, seen: Look) -> None:
        name = told(os.fsencode(os.path.relpath(entry.path, self._root)))
        seen.names.add(name)
        try:
            info = entry.stat(follow_symlinks=False)
            stamp, problem = stamp_of(info), ""
            if stat.S_ISLNK(info.st_mode):
                problem = _link(entry.path, base)
                stamp = stamp if problem else stamp_of(os.stat(entry.path))  # noqa: PTH116
            elif not stat.S_ISREG(info.st_mode):
                problem = "it is not a regular file"
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            stamp, problem = "", f"it cannot be looked at: {error.strerror}"
        if known.get(name) != stamp:
            seen.changed.append(Entry(entry.path, name, stamp, problem, os.path.realpath(entry.path)))


def _link(path: str, base: str) -> str:
    """What is wrong with a link; empty when it leads to a file within the watched folder."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"it is a link that leads nowhere: {error.strerror}"
    if not target.startswith(f"{base}/"):
        return "it is a link out of the watched folder"
    return "" if os.path.isfile(target) else "it is a link to what is not a file"  # noqa: PTH113


def _magic(part: str) -> bool:
    return any(letter in part for letter in "*?[")


def stamp_of(info: os.stat_result) -> str:
    return f"{info.st_size}-{info.st_mtime_ns}-{info.st_ino}"


def stamp(entry: Entry) -> str | None:
    """Of the file as it is now; None when it is gone, or when a link has come into its path since the look."""
    try:
        info = os.lstat(entry.real)
        same = stat.S_ISREG(info.st_mode) and os.path.realpath(entry.path) == entry.real
    except OSError:
        return None
    return stamp_of(info) if same else None


def whole(path: str, name: str) -> bool | None:
    """Whether the file has the end that its format demands; None where the format has none. FileNotFoundError."""
    with open(path, "rb") as file:  # noqa: PTH123
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        if not name.lower().endswith(_PARQUET):
            return None
        if size < 12:
            return False
        file.seek(-8, os.SEEK_END)
        tail = file.read(8)
    return tail[4:] == b"PAR1" and int.from_bytes(tail[:4], "little") + 12 <= size


def held(path: str) -> bool | None:
    """Whether any process of this machine has the file open for writing; None where the system does not tell.

    The kernel gives a read lease only on a file that nobody writes (fcntl(2), F_SETLEASE); it is given back at once.
    Where somebody opens the file in that instant, the signal that says so is one that does nothing.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False
