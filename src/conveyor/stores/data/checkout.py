"""Puts a version's files into a folder: only what differs is written, and nothing of the user's is overwritten.

Nothing is written outside the folder, whatever the version's paths and links say.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import Conflict, CorruptObject, NoSpace, Refused
from conveyor.stores.data import recipe, walk
from conveyor.stores.data import state as states
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.intake import content_of
from conveyor.stores.data.links import check_path, stays_inside
from conveyor.stores.data.node import CUT, EXECUTABLE, LINK, Entry
from conveyor.stores.data.scan import Scan, Source, scan, show
from conveyor.stores.data.state import State
from conveyor.stores.data.stats import COLUMNS
from conveyor.stores.data.store import DataStore

_STAGE = ".conveyor"  # a folder in the target for files that are not whole yet; no dataset holds one of this name
_AT_ONCE = 20_000  # files that are written together, in the order of their packs


@dataclass(frozen=True, slots=True)
class CheckedOut:
    version: FilesVersion
    written: int
    deleted: int
    kept: int  # files that were as they should be
    bytes: int


def checkout(
    store: DataStore,
    version: FilesVersion,
    target: Path,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda files, size: None,
) -> CheckedOut:
    """Makes `target` the version. Conflict where a file of the user's would be lost, before anything is written."""
    place = os.fsencode(os.path.realpath(target))
    sources = (Source(b"", place, True),)
    path = states.file_of(store.folders, version.project, version.name, sources)
    found = scan(sources) if os.path.isdir(place) else Scan([], array("q"), sources)
    plan = _plan(store, version, found, states.load(path), force)
    _room(place, sum(entry.size for entry in plan.write))
    out = _Target(place)
    try:
        for start in range(0, len(plan.write), _AT_ONCE):
            _write(store, plan.write[start : start + _AT_ONCE], out, progress)
        for gone in plan.delete:
            out.delete(gone)
    finally:
        out.close()
    _remember(store, version, sources, path)
    size = sum(entry.size for entry in plan.write)
    return CheckedOut(version, len(plan.write), len(plan.delete), version.files - len(plan.write), size)


def unfold(store: DataStore, root: bytes, target: Path) -> None:
    """A tree's files in a folder that nobody else writes to; what is there is written anew. No state is kept."""
    entries = list(walk.entries(root, store.reader))
    for entry in entries:
        check_path(entry.path)
    place = os.fsencode(os.path.realpath(target))
    _room(place, sum(entry.size for entry in entries))
    out = _Target(place)
    try:
        for start in range(0, len(entries), _AT_ONCE):
            _write(store, entries[start : start + _AT_ONCE], out, lambda files, size: None)
    finally:
        out.close()


@dataclass(slots=True)
class _Plan:
    write: list[Entry]
    delete: list[bytes]


def _plan(store: DataStore, version: FilesVersion, found: Scan, known: State | None, force: bool) -> _Plan:
    """What must be written and deleted. Files that are neither in the version nor known are left alone."""
    here = {path: row for row, path in enumerate(found.paths)}
    past = {path: row for row, path in enumerate(known.paths())} if known else {}
    plan, lost = _Plan([], []), []

    def on_disk(path: bytes) -> Entry:
        """What the file is now; not read where its stats are as they were."""
        row, place = here[path] * COLUMNS, past.get(path)
        stats = found.stats[row : row + COLUMNS]
        if place is not None and known is not None and stats == known.stats[place * COLUMNS : (place + 1) * COLUMNS]:
            return before(path)
        return Entry(path, stats[0], *content_of(path, found.place(path), tuple(stats)))  # type: ignore[arg-type]

    def before(path: bytes) -> Entry:
        assert known is not None
        place = past[path]
        digest = known.content[known.files + 32 * place : known.files + 32 * place + 32]
        return Entry(path, known.stats[place * COLUMNS], known.content[place], digest)

    wanted = set()
    for entry in walk.entries(bytes.fromhex(version.root), store.reader):
        check_path(entry.path)
        wanted.add(entry.path)
        now = on_disk(entry.path) if entry.path in here else None
        if now == entry:
            continue
        plan.write.append(entry)
        if now is not None and (entry.path not in past or now != before(entry.path)):
            lost.append(entry.path)
    for path in past:
        if path in here and path not in wanted and (force or on_disk(path) == before(path)):
            plan.delete.append(path)
    if lost and not force:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise Conflict(
            f"changed since and would be overwritten: {', '.join(map(show, lost[:3]))}{more}",
            hint="Add them first, check out to another folder with --to, or give them up with --force.",
        )
    return plan


def _write(store: DataStore, entries: list[Entry], out: _Target, progress: Callable[[int, int], None]) -> None:
    """Files of one chunk in the order in which their chunks lie in the packs, then the large ones, then links: no file
    is written through a link."""
    by_chunk: dict[bytes, list[Entry]] = {}
    large, links, done, size = [], [], 0, 0
    for entry in entries:
        if entry.kind & LINK:
            links.append(entry)
        elif entry.kind & CUT:
            large.append(entry)
        elif not entry.size:
            out.write(entry, ())
        else:
            by_chunk.setdefault(entry.digest, []).append(entry)
    for digest, raw in store.chunks.read(by_chunk):
        for entry in by_chunk[digest]:
            out.write(entry, (raw,))
            done, size = done + 1, size + entry.size
            if done % 256 == 0:
                progress(done, size)
    for entry in large:
        out.write(entry, content(store, entry))
        done, size = done + 1, size + entry.size
        progress(done, size)
    for entry in links:
        out.link(entry, store.chunks.get(entry.digest))
    progress(done + len(links), size)


def content(store: DataStore, entry: Entry) -> Iterator[Bytes]:
    """The bytes of a file, in pieces, in order; verified."""
    if not entry.kind & CUT:
        if entry.size:
            yield store.chunks.get(entry.digest)
        return
    batch: list[bytes] = []
    held = 0
    for piece in recipe.read(entry.digest, store.reader):
        batch.append(piece.digest)
        held += piece.size
        if held >= 16 << 20:
            yield from _ordered(store, batch)
            batch, held = [], 0
    yield from _ordered(store, batch)


def _ordered(store: DataStore, digests: list[bytes]) -> Iterator[Bytes]:
    found = dict(store.chunks.read(digests))
    for digest in digests:
        yield found[digest]


class _Target:
    """The folder that is written to. A file appears under its name when it is whole."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._stage = root + b"/" + _STAGE.encode()
        self._folders: set[bytes] = set()
        self._count = 0
        os.makedirs(root, exist_ok=True)
        self._staged = not os.path.isdir(self._stage)
        with suppress(FileExistsError):
            os.mkdir(self._stage)
        self._name = self._stage + b"/checkout-%d-" % os.getpid()

    def write(self, entry: Entry, parts: Iterable[Bytes]) -> None:
        self._count += 1
        temp = self._name + b"%d" % self._count
        mode = 0o777 if entry.kind & EXECUTABLE else 0o666
        try:
            handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            size = 0
            try:
                for part in parts:
                    size += len(part)
                    while (count := os.write(handle, part)) < len(part):
                        part = memoryview(part)[count:]
            finally:
                os.close(handle)
            if size != entry.size:
                raise CorruptObject(f"{show(entry.path)} has {size:,} bytes, not {entry.size:,}", hint=_VERIFY)
            self._place(temp, entry.path)
        except OSError as error:
            raise _told(error, entry.path) from error

    def link(self, entry: Entry, leads: bytes) -> None:
        if not stays_inside(entry.path, leads):
            raise Refused(
                f"the link {show(entry.path)} leads out of the dataset, to {show(leads)}",
                hint="No `conveyor data add` made it: look at where this version comes from.",
            )
        self._count += 1
        temp = self._name + b"%d" % self._count
        try:
            os.symlink(leads, temp)
            self._place(temp, entry.path)
        except OSError as error:
            raise _told(error, entry.path) from error

    def delete(self, path: bytes) -> None:
        """Also the folders that are empty then."""
        folder = path.rpartition(b"/")[0]
        self._folder(folder)
        with suppress(FileNotFoundError):
            os.unlink(self._root + b"/" + path)
        with suppress(OSError):
            while folder:
                os.rmdir(self._root + b"/" + folder)
                self._folders.discard(folder)
                folder = folder.rpartition(b"/")[0]

    def close(self) -> None:
        if self._staged:
            shutil.rmtree(self._stage, ignore_errors=True)

    def _place(self, temp: bytes, path: bytes) -> None:
        self._folder(path.rpartition(b"/")[0])
        os.rename(temp, self._root + b"/" + path)

    def _folder(self, folder: bytes) -> None:
        """Makes a folder; one that is a link is refused, since it may lead anywhere."""
        if folder in self._folders or not folder:
            return
        self._folder(folder.rpartition(b"/")[0])
        place = self._root + b"/" + folder
        try:
            os.mkdir(place)
        except FileExistsError:
            if os.path.islink(place) or not os.path.isdir(place):
                raise Refused(
                    f"{show(place)} is not a folder, and files are to be written into it",
                    hint="Move it away, or check out to another folder with --to.",
                ) from None
        self._folders.add(folder)


def _remember(store: DataStore, version: FilesVersion, sources: tuple[Source, ...], path: Path) -> None:
    """The state of the folder, for the files of the version: what else is there is new."""
    taken = time.time_ns()
    found = scan(sources)
    rows = {each: row for row, each in enumerate(found.paths)}
    stats, names, kinds, digests = array("q"), [], bytearray(), bytearray()
    for entry in walk.entries(bytes.fromhex(version.root), store.reader):
        row = rows.get(entry.path)
        if row is not None and found.stats[row * COLUMNS] == entry.size:
            names.append(entry.path)
            stats.extend(found.stats[row * COLUMNS : row * COLUMNS + COLUMNS])
            kinds.append(entry.kind)
            digests += entry.digest
    kept = State(
        version.project,
        version.name,
        version.version,
        version.root,
        sources,
        len(names),
        b"\0".join(names),
        states.unsure(stats, taken),
        bytes(kinds + digests),
    )
    states.save(path, kept)


def _room(place: bytes, size: int) -> None:
    folder = place
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size:
        raise _full(place)


def _told(error: OSError, path: bytes) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
        return Conflict(f"{show(path)}: {error.strerror}", hint="Move away what is there, or use --to.")
    if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
        return Refused(
            f"this disk takes no file of the name {show(path)[:200]}: {error.strerror}",
            hint="`conveyor data export` writes an archive instead.",
        )
    return error


def _full(path: bytes) -> NoSpace:
    return NoSpace(f"no room to write {show(path)[:200]}", hint="Free some space, then check out again: it goes on.")


_VERIFY = "`conveyor data verify` tells what is affected."
