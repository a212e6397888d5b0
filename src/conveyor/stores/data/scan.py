"""What is in a working folder now: names and stats, no bytes. Standard library only, so that a status is quick."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

from conveyor.errors import InputRejected, NotFound
from conveyor.stores.data.stats import COLUMNS, stats_of

LEFT_OUT = frozenset({b".conveyor", b".git", b".dvc"})  # folders that are a tool's own
LONGEST = 16 * 1024  # bytes of a path inside a dataset
_STEP = 1024  # files between two calls of `seen`


class Source(NamedTuple):
    """A file or folder of the user's, and where it stands in the dataset; an empty `prefix` is the dataset itself."""

    prefix: bytes
    path: bytes  # absolute
    folder: bool


class Scan(NamedTuple):
    """Files in the order of trees: paths inside the dataset, and five numbers each, see COLUMNS."""

    paths: list[bytes]
    stats: array[int]
    sources: tuple[Source, ...]

    def place(self, path: bytes) -> bytes:
        """Where a file of the dataset is on disk."""
        for source in self.sources:
            if not source.folder:
                if path == source.prefix:
                    return source.path
            elif not source.prefix:
                return source.path + b"/" + path
            elif path.startswith(source.prefix + b"/"):
                return source.path + path[len(source.prefix) :]
        raise NotFound(f"{show(path)} is in none of the folders")


def scan(sources: Iterable[Source], seen: Callable[[int], None] = lambda count: None) -> Scan:
    """Everything in the sources. InputRejected where something is there that is neither file nor link."""
    ordered = tuple(sorted(sources, key=lambda source: source.prefix.replace(b"/", b"\0")))
    paths: list[bytes] = []
    stats = array("q")
    strange: list[bytes] = []
    for source in ordered:
        if source.folder:
            _folder(source, paths, stats, strange, seen)
        else:
            _file(source, paths, stats, strange)
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise InputRejected(
            f"neither a file nor a link: {', '.join(map(show, strange[:3]))}{more}",
            hint="A dataset holds files and links; move pipes, sockets and devices elsewhere.",
        )
    return Scan(paths, stats, ordered)


def _file(source: Source, paths: list[bytes], stats: array[int], strange: list[bytes]) -> None:
    try:
        found = os.lstat(source.path)
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        strange.append(source.path)
    paths.append(source.prefix)
    stats.extend((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode))


def _folder(
    source: Source, paths: list[bytes], stats: array[int], strange: list[bytes], seen: Callable[[int], None]
) -> None:
    start = source.prefix + b"/" if source.prefix else b""
    names = _walk(source.path, start, len(paths), seen)
    found = stats_of(source.path, len(start), names)
    modes = found[COLUMNS - 1 :: COLUMNS]
    kinds = {stat.S_IFMT(mode) for mode in set(modes)}
    if 0 in kinds:  # gone since its name was read
        names = [name for name, mode in zip(names, modes, strict=True) if mode]
        rows = range(0, len(found), COLUMNS)
        found = array("q", [n for row in rows if found[row + COLUMNS - 1] for n in found[row : row + COLUMNS]])
        modes = found[COLUMNS - 1 :: COLUMNS]
    if kinds - {0, stat.S_IFREG, stat.S_IFLNK}:
        strange += [
            source.path + b"/" + name[len(start) :]
            for name, mode in zip(names, modes, strict=True)
            if stat.S_IFMT(mode) not in (stat.S_IFREG, stat.S_IFLNK)
        ]
    paths += names
    stats.extend(found)


def _walk(top: bytes, start: bytes, before: int, seen: Callable[[int], None]) -> list[bytes]:
    """Depth first, each folder's names in order; without recursion, since folders may be nested as deep as they like.
    Links are not followed, so that there are no loops."""
    waiting: list[tuple[bytes, bytes, bool]] = [(top, start, True)]
    paths: list[bytes] = []
    told = _STEP
    while waiting:
        place, path, folder = waiting.pop()
        if not folder:
            paths.append(path)
            continue
        if len(path) > LONGEST:
            raise InputRejected(
                f"the path {show(path[:60])}... has {len(path):,} bytes", hint=f"At most {LONGEST:,} are taken."
            )
        names = _names(place)
        if any(is_folder for _, is_folder in names):
            for name, is_folder in reversed(names):
                waiting.append((place + b"/" + name, path + name + b"/" if is_folder else path + name, is_folder))
        else:
            paths += [path + name for name, _ in names]
        if len(paths) >= told:
            seen(before + len(paths))
            told = len(paths) + _STEP
    return paths


def _names(folder: bytes) -> list[tuple[bytes, bool]]:
    try:
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        raise InputRejected(f"{show(folder)} may not be read", hint="Give yourself the right to read it.") from None
    names.sort()
    return [each for each in names if not (each[1] and each[0] in LEFT_OUT)]


def show(path: bytes) -> str:
    """A path for people: bytes that are no UTF-8 are escaped, and so is what would move the cursor."""
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
