"""Takes files in: reads them once, says what their content is, and hands their chunks to be stored."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from blake3 import blake3

from conveyor.errors import Conflict, InputRejected
from conveyor.stores.data import recipe
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.chunks import digest_of
from conveyor.stores.data.links import stays_inside
from conveyor.stores.data.node import CUT, EXECUTABLE, LINK
from conveyor.stores.data.scan import show

EMPTY = blake3(b"").digest()
_TRIES = 5  # to read a file that is being written
_PAUSE = 0.2  # seconds
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_QUIET = getattr(os, "O_NOATIME", 0)  # spares a write of every inode that is read; the file's owner may ask for it

Put = Callable[[bytes, Bytes], None]
Row = tuple[int, int, int, int, int]  # size, mtime_ns, ctime_ns, inode, mode: as `scan` has it


def kind_of(mode: int) -> int:
    if stat.S_ISLNK(mode):
        return LINK
    return EXECUTABLE if mode & 0o100 else 0


def take(path: bytes, place: bytes, row: Row, put: Put) -> tuple[int, bytes, Row]:
    """Kind, digest and stats of the file `path` of the dataset, which lies at `place`; what the stats tell is what
    was read. Conflict when it is written to all the while, FileNotFoundError when it is gone."""
    if stat.S_ISLNK(row[4]):
        return _link(path, place, row, put)
    handle = _open(path, place)
    try:
        for attempt in range(_TRIES):
            size = row[0]
            if size <= recipe.WHOLE:
                raw = os.pread(handle, size + 1, 0)
                digest, kind, read = digest_of(raw), 0, len(raw)
            else:
                raw = b""
                digest, read = _cut(handle, put)
                kind = CUT
            now = os.fstat(handle)
            if read == size == now.st_size and row[1] == now.st_mtime_ns:
                if raw:
                    put(digest, raw)
                return kind | kind_of(now.st_mode), digest, row
            row = (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_mode)
            if attempt:
                time.sleep(_PAUSE)
    finally:
        os.close(handle)
    raise Conflict(
        f"{show(path)} is being written to; a half-written file is not taken",
        hint="Wait until its writer is done, then add again; nothing was changed.",
    )


def _open(path: bytes, place: bytes) -> int:
    for flags in (_READ | _QUIET, _READ):
        try:
            return os.open(place, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            refusal = error
    raise InputRejected(
        f"{show(path)} cannot be read: {refusal.strerror}", hint="Give yourself the right to read it, then add again."
    )


def content_of(path: bytes, place: bytes, row: Row) -> tuple[int, bytes]:
    """Kind and digest, and nothing is stored; a link may lead anywhere."""
    if stat.S_ISLNK(row[4]):
        return LINK, digest_of(os.readlink(place))
    kind, digest, _ = take(path, place, row, lambda digest, raw: None)
    return kind, digest


def _link(path: bytes, place: bytes, row: Row, put: Put) -> tuple[int, bytes, Row]:
    leads = os.readlink(place)
    if not stays_inside(path, leads):
        raise InputRejected(
            f"the link {show(path)} leads out of the dataset, to {show(leads)}",
            hint="Replace it by the file itself: a version must have all that it refers to.",
        )
    digest = digest_of(leads)
    put(digest, leads)
    return LINK, digest, (len(leads), *row[1:])


def _cut(handle: int, put: Put) -> tuple[bytes, int]:
    at = 0

    def read_into(buffer: memoryview) -> int:
        nonlocal at
        count = os.preadv(handle, [buffer], at)
        at += count
        return count

    pieces = []
    for chunk in recipe.cut(read_into):
        digest = digest_of(chunk)
        put(digest, chunk)
        pieces.append(recipe.Piece(digest, len(chunk)))
    if not pieces:
        return EMPTY, 0
    return recipe.write(pieces, put).digest, at
