"""Stats of many files: what `lstat` says, as five numbers each. Standard library only, so that a status is quick.

Of a million files nearly all of the time is spent in the kernel, one call a file: a second process halves it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from itertools import islice

COLUMNS = 5  # size, mtime_ns, ctime_ns, inode, mode
_MANY = 50_000  # files, from which on a second process pays


def stats_of(folder: bytes, skip: int, paths: Sequence[bytes]) -> array[int]:
    """COLUMNS numbers of each path, all 0 where nothing is there any more. A path's first `skip` bytes are left out to
    find it in `folder`."""
    if len(paths) < _MANY or (os.cpu_count() or 1) < 2:
        return _stats(folder, skip, paths, 0, len(paths))
    import threading  # a status of few files does without it

    if threading.active_count() > 1:  # a fork would have the others' locks, and nobody to release them
        return _stats(folder, skip, paths, 0, len(paths))
    return _halves(folder, skip, paths)


def _stats(folder: bytes, skip: int, paths: Sequence[bytes], start: int, stop: int) -> array[int]:
    stats, top, lstat = array("q"), folder + b"/", os.lstat
    for path in islice(paths, start, stop):
        try:
            found = lstat(top + path[skip:])
        except (FileNotFoundError, NotADirectoryError):
            stats.extend((0, 0, 0, 0, 0))
            continue
        stats.extend((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode))
    return stats


def _halves(folder: bytes, skip: int, paths: Sequence[bytes]) -> array[int]:
    """The second half comes from a process of its own; it is done here where that one fails."""
    middle = len(paths) // 2
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as out:
                out.write(_stats(folder, skip, paths, middle, len(paths)))
        finally:
            os._exit(0)  # nothing that this process has inherited may be done twice
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as file:
            stats = _stats(folder, skip, paths, 0, middle)
            rest = file.read()
    finally:
        os.waitpid(child, 0)
    if len(rest) == (len(paths) - middle) * COLUMNS * stats.itemsize:
        stats.frombytes(rest)
        return stats
    return stats + _stats(folder, skip, paths, middle, len(paths))
