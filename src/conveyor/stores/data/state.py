"""What a working folder was when it was last added or checked out: a cache of stats and digests, one file a folder.

A file with the size, times, inode and mode that it had then is taken as unchanged. A file that was written so shortly
before that it may have been written again within the same tick of the file system's clock is not ("racy", as git has
it): its row gets a time that no file has. Standard library only.
"""

from __future__ import annotations

import json
import os
from array import array
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from conveyor.stores.data.scan import Scan, Source
from conveyor.stores.data.stats import COLUMNS

_FORMAT = 1
_TICK_NS = 20_000_000  # the coarsest clock of a local file system is that of the kernel's timer, 10 ms
_RACY = -1
_BLOCK = 1024  # files


class State(NamedTuple):
    """`names`: the paths joined by NUL. `stats`: COLUMNS numbers a path. `content`: kind (1 byte) and digest (32) a
    path. `version`: the dataset's version that the folder was then; `root` its tree."""

    project: str
    name: str
    version: int
    root: str
    sources: tuple[Source, ...]
    files: int
    names: bytes
    stats: array[int]
    content: bytes

    def paths(self) -> list[bytes]:
        return self.names.split(b"\0") if self.files else []

    def part(self, sources: tuple[Source, ...]) -> State:
        """Only the files of these sources: their prefixes are ordered, and none is inside another."""
        paths = self.paths()
        spans = [_span(paths, source.prefix) for source in sources]
        return _joined([(self, *span) for span in spans], self._replace(sources=sources))

    def with_part(self, part: State) -> State:
        """The files at the prefixes of `part` replaced by those of `part`; what it says of the version, too."""
        mine, theirs = self.paths(), part.paths()
        pieces, at = [], 0
        for source in part.sources:
            start, stop = _span(mine, source.prefix)
            pieces += [(self, at, start), (part, *_span(theirs, source.prefix))]
            at = stop
        pieces.append((self, at, len(mine)))
        return _joined(pieces, part)


def _span(paths: list[bytes], prefix: bytes) -> tuple[int, int]:
    """The rows of the file or folder `prefix`."""
    if not prefix:
        return 0, len(paths)
    start = prefix.replace(b"/", b"\0")

    def key(path: bytes) -> bytes:
        return path.replace(b"/", b"\0")

    return bisect_left(paths, start, key=key), bisect_left(paths, start + b"\1", key=key)


def _joined(pieces: list[tuple[State, int, int]], like: State) -> State:
    """A state of rows (from, to) of other states, in this order; all else as in `like`."""
    names, stats, kinds, digests = [], array("q"), bytearray(), bytearray()
    for state, start, stop in pieces:
        if start < stop:
            names.append(b"\0".join(state.paths()[start:stop]))
            stats += state.stats[start * COLUMNS : stop * COLUMNS]
            kinds += state.content[start:stop]
            digests += state.content[state.files + 32 * start : state.files + 32 * stop]
    return like._replace(files=len(kinds), names=b"\0".join(names), stats=stats, content=bytes(kinds + digests))


def same(state: State, scan: Scan) -> bool:
    """Nothing was touched: two comparisons of memory."""
    return state.stats == scan.stats and state.names == b"\0".join(scan.paths)


def touched(known: array[int], now: array[int]) -> list[int]:
    """The rows that differ, of the stats of the same files at two times: compared in blocks, since few do."""
    rows: list[int] = []
    for start in range(0, len(now), _BLOCK * COLUMNS):
        before, after = known[start : start + _BLOCK * COLUMNS], now[start : start + _BLOCK * COLUMNS]
        if before != after:
            starts = range(0, len(after), COLUMNS)
            rows += [(start + at) // COLUMNS for at in starts if before[at : at + COLUMNS] != after[at : at + COLUMNS]]
    return rows


def unsure(stats: array[int], taken_ns: int) -> array[int]:
    """The stats to keep, of a scan that began at `taken_ns`: times of racy files are replaced by one that none has."""
    kept = array("q", stats)
    limit = taken_ns - _TICK_NS
    for column in (1, 2):
        times = kept[column::COLUMNS]
        if times and max(times) >= limit:
            for row, moment in enumerate(times):
                if moment >= limit:
                    kept[row * COLUMNS + 1] = _RACY
    return kept


def file_of(folder: Path, project: str, name: str, sources: tuple[Source, ...]) -> Path:
    """The state file of these sources, under the folder of all states: one for a folder that is a dataset, another for
    all files and folders that are parts of one."""
    from conveyor.stores.data.chunks import digest_of  # a status looks for no file, and loads no hashing

    whole = next((source.path for source in sources if not source.prefix), None)
    return folder / project / name / ("parts" if whole is None else digest_of(whole).hex()[:24])


def save(path: Path, state: State) -> None:
    """Whole or not at all. It is not synced: after a power cut a state that does not read is a state that is absent."""
    head = {
        "format": _FORMAT,
        "project": state.project,
        "name": state.name,
        "version": state.version,
        "root": state.root,
        "sources": [[source.prefix.hex(), source.path.hex(), source.folder] for source in state.sources],
        "files": state.files,
        "names": len(state.names),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temp.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            for part in (state.names, state.stats, state.content):
                file.write(part)
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def load(path: Path) -> State | None:
    """None where there is none, or one that does not read: everything is then looked at anew."""
    try:
        raw = path.read_bytes()
        line = raw.index(b"\n")
        head: dict[str, Any] = json.loads(raw[:line])
        if head["format"] != _FORMAT:
            return None
        files, names = int(head["files"]), int(head["names"])
        stats_at = line + 1 + names
        content_at = stats_at + 8 * COLUMNS * files
        if len(raw) != content_at + 33 * files:
            return None
        stats = array("q")
        stats.frombytes(memoryview(raw)[stats_at:content_at])
        sources = tuple(Source(bytes.fromhex(a), bytes.fromhex(b), bool(c)) for a, b, c in head["sources"])
        who = (str(head["project"]), str(head["name"]), int(head["version"]), str(head["root"]))
        return State(*who, sources, files, raw[line + 1 : stats_at], stats, raw[content_at:])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def listed(folder: Path, project: str = "", name: str = "") -> list[Path]:
    """The state files under the folder of all states: of one dataset, of those of this name, or of all."""
    found = []
    with suppress(FileNotFoundError):
        for each in [project] if project else sorted(os.listdir(folder)):
            with suppress(FileNotFoundError, NotADirectoryError):
                for dataset in [name] if name else sorted(os.listdir(folder / each)):
                    with suppress(FileNotFoundError, NotADirectoryError):
                        place = folder / each / dataset
                        found += [place / file for file in sorted(os.listdir(place)) if not file.startswith(".")]
    return found
