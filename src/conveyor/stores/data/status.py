"""What changed in a working folder since it was added or checked out. Only what was touched is read."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from conveyor.stores.data import state as states
from conveyor.stores.data.scan import Scan, scan
from conveyor.stores.data.state import State
from conveyor.stores.data.stats import COLUMNS


class Status(NamedTuple):
    """Paths are inside the dataset. `clean`: the folder is as the version that it was added to or checked out from."""

    project: str
    name: str
    version: int
    places: tuple[bytes, ...]  # the folders and files on disk
    files: int
    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    deleted: tuple[bytes, ...]
    seconds: float

    @property
    def clean(self) -> bool:
        return not (self.added or self.changed or self.deleted)


def status(path: Path, seen: Callable[[int], None] = lambda files: None) -> Status | None:
    """The status of the folder whose state is kept in `path`; None where no state is."""
    begun, taken = time.perf_counter(), time.time_ns()
    known = states.load(path)
    if known is None:
        return None
    found = scan(known.sources, seen)
    added, changed, deleted = ([], [], []) if states.same(known, found) else _compared(path, known, found, taken)
    return Status(
        known.project,
        known.name,
        known.version,
        tuple(source.path for source in known.sources),
        len(found.paths),
        tuple(added),
        tuple(changed),
        tuple(deleted),
        time.perf_counter() - begun,
    )


def _compared(path: Path, known: State, found: Scan, taken: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Added, changed and deleted paths. A file that was touched and has the same content is remembered as such."""
    added, deleted, touched = _matched(known, found)
    changed: list[bytes] = []
    healed: dict[int, array[int]] = {}
    for row, place in touched:
        stats = found.stats[row * COLUMNS : row * COLUMNS + COLUMNS]
        if _as_it_was(known, place, found.paths[row], found, stats):
            healed[place] = stats
        else:
            changed.append(found.paths[row])
    if healed:
        _heal(path, known, healed, taken)
    return added, changed, deleted


def _matched(known: State, found: Scan) -> tuple[list[bytes], list[bytes], list[tuple[int, int]]]:
    """Paths that are new, paths that are gone, and (row found, row known) of the files whose stats differ."""
    if known.names == b"\0".join(found.paths):
        return [], [], [(row, row) for row in states.touched(known.stats, found.stats)]
    places = {each: place for place, each in enumerate(known.paths())}
    added: list[bytes] = []
    rows: list[tuple[int, int]] = []
    for row, each in enumerate(found.paths):
        place = places.pop(each, None)
        if place is None:
            added.append(each)
        elif (
            found.stats[row * COLUMNS : row * COLUMNS + COLUMNS]
            != known.stats[place * COLUMNS : place * COLUMNS + COLUMNS]
        ):
            rows.append((row, place))
    return added, list(places), rows


def _as_it_was(known: State, place: int, path: bytes, found: Scan, stats: array[int]) -> bool:
    from conveyor.stores.data.intake import content_of  # only where something was touched: it loads the hashing

    kind = known.content[place]
    digest = known.content[known.files + 32 * place : known.files + 32 * place + 32]
    if stats[0] != known.stats[place * COLUMNS]:
        return False
    try:
        return content_of(path, found.place(path), tuple(stats)) == (kind, digest)  # type: ignore[arg-type]
    except FileNotFoundError:
        return False


def _heal(path: Path, known: State, healed: dict[int, array[int]], taken: int) -> None:
    """The next status need not read these files again; not when another process has written a newer state."""
    fresh = array("q", known.stats)
    for place, stats in healed.items():
        fresh[place * COLUMNS : place * COLUMNS + COLUMNS] = stats
    now = states.load(path)
    if now is not None and (now.version, now.files, now.stats) == (known.version, known.files, known.stats):
        states.save(path, known._replace(stats=states.unsure(fresh, taken)))
