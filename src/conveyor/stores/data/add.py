"""Makes a version of what is in a working folder: only what changed is read, only what is new is stored."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import LeaseLost
from conveyor.stores.data import state as states
from conveyor.stores.data import tree, walk
from conveyor.stores.data.intake import take
from conveyor.stores.data.memory import Memory
from conveyor.stores.data.node import Entry, order
from conveyor.stores.data.order import Order
from conveyor.stores.data.rows import Rows
from conveyor.stores.data.scan import Scan, scan
from conveyor.stores.data.state import State
from conveyor.stores.data.stats import COLUMNS
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.writer import Writer

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Added:
    """`version` is the new version, or the newest when nothing differed from it (`fresh` is False then)."""

    version: FilesVersion
    fresh: bool
    read: int  # files whose bytes were looked at


@dataclass(slots=True)
class Watch:
    """Told of files seen and bytes read; what is drawn of it is the caller's business."""

    seen: Callable[[int], None] = lambda files: None
    read: Callable[[int, int], None] = lambda files, size: None
    waits: Callable[[str], None] = lambda who: None


def add(store: DataStore, wanted: Order, watch: Watch | None = None) -> Added:
    """The new version. Waits while another process adds to the same dataset; readers wait for nothing."""
    watch = watch or Watch()
    with store.writing(wanted.project, wanted.name, watch.waits):
        for attempt in range(_TRIES):
            try:
                return _add(store, wanted, watch)
            except LeaseLost:
                if attempt == _TRIES - 1:
                    raise
    raise AssertionError("the last try raises")


def _add(store: DataStore, wanted: Order, watch: Watch) -> Added:
    taken = time.time_ns()
    found = scan(wanted.sources, watch.seen)
    memory = Memory.of(store, wanted)
    known = memory.trusted(store, wanted)
    rows = Rows(found)
    with Writer(store.chunks, without=store.condemned()) as writer:
        read = _fill(rows, found, known, writer, watch)
        while True:
            newest, parent = store.versions.tip(wanted.project, wanted.name)
            version = _version(store, wanted, rows, known, parent, newest + 1, writer)
            if version is None:
                assert parent is not None
                memory.keep(wanted, rows, parent, taken)
                return Added(parent, False, read)
            writer.finish()
            if store.commit(version, writer.used):
                break
    memory.keep(wanted, rows, version, taken, parent)
    return Added(version, True, read)


def _fill(rows: Rows, found: Scan, known: State | None, writer: Writer, watch: Watch) -> int:
    """Content of every row: from the state where the stats are the same, by reading where they are not."""
    todo = range(len(rows.paths)) if known is None else _reuse(rows, known)
    gone, size = set(), 0
    for count, row in enumerate(todo):
        start = row * COLUMNS
        stats = tuple(rows.stats[start : start + COLUMNS])
        path = rows.paths[row]
        try:
            kind, digest, now = take(path, found.place(path), stats, writer.add)  # type: ignore[arg-type]
        except FileNotFoundError:
            gone.add(row)
            continue
        rows.fill(row, kind, digest)
        if now is not stats:
            rows.stats[start : start + COLUMNS] = array("q", now)
        size += now[0]
        if count % 256 == 0:
            watch.read(count, size)
    watch.read(len(todo), size)
    if gone:
        rows.drop(gone)
    return len(todo)


def _reuse(rows: Rows, known: State) -> list[int]:
    """Fills the rows whose files are as they were, and returns the others."""
    if known.names == b"\0".join(rows.paths):
        rows.kinds[:] = known.content[: known.files]
        rows.digests[:] = known.content[known.files :]
        return states.touched(known.stats, rows.stats)
    places = {path: place for place, path in enumerate(known.paths())}
    kinds, digests = known.content[: known.files], known.content[known.files :]
    todo = []
    for row, path in enumerate(rows.paths):
        place = places.get(path)
        start = row * COLUMNS
        if place is not None:
            before = place * COLUMNS
            if known.stats[before : before + COLUMNS] == rows.stats[start : start + COLUMNS]:
                rows.kinds[row] = kinds[place]
                rows.digests[32 * row : 32 * row + 32] = digests[32 * place : 32 * place + 32]
                continue
        todo.append(row)
    return todo


def _version(
    store: DataStore,
    wanted: Order,
    rows: Rows,
    known: State | None,
    parent: FilesVersion | None,
    number: int,
    writer: Writer,
) -> FilesVersion | None:
    """The version to create; None when it would be the parent again."""
    whole = any(not source.prefix for source in wanted.sources)
    if parent is None:
        changes: dict[bytes, Entry | None] = {}
        counts = (len(rows.paths), 0, 0)
        root = tree.build(rows.entries(), writer.add)
    else:
        changes, counts = _changes(_before(store, wanted, known, parent), rows.entries())
        if not changes:
            return None
        if whole and len(changes) * 2 > len(rows.paths):
            root = tree.build(rows.entries(), writer.add)
        else:
            top = tree.Root(bytes.fromhex(parent.root), parent.files, parent.bytes)
            root = tree.edit(top, changes, store.reader, writer.add)
    added, changed, deleted = counts
    writer.finish()
    return FilesVersion(
        project=wanted.project,
        name=wanted.name,
        version=number,
        root=root.digest.hex(),
        files=root.files,
        bytes=root.size,
        created=datetime.now(UTC),
        parent=parent.version if parent else None,
        added=added,
        changed=changed,
        deleted=deleted,
        stored=writer.stored,
        reason=wanted.reason,
        by=wanted.by,
    )


def _before(store: DataStore, wanted: Order, known: State | None, parent: FilesVersion) -> Iterator[Entry]:
    """What the parent has of the sources: from the state where it tells of just that, else from the tree."""
    if known is not None and (known.version, known.root, known.sources) == (
        parent.version,
        parent.root,
        wanted.sources,
    ):
        yield from _remembered(known)
        return
    root = bytes.fromhex(parent.root)
    for source in sorted(wanted.sources, key=lambda source: order(source.prefix)):
        yield from walk.under(root, source.prefix, store.reader)


def _remembered(known: State) -> Iterator[Entry]:
    kinds, digests = known.content[: known.files], known.content[known.files :]
    for row, path in enumerate(known.paths()):
        yield Entry(path, known.stats[row * COLUMNS], kinds[row], digests[32 * row : 32 * row + 32])


def _changes(before: Iterable[Entry], after: Iterable[Entry]) -> tuple[dict[bytes, Entry | None], tuple[int, int, int]]:
    """What differs between two ordered lists of files, and how many were added, changed and deleted."""
    changes: dict[bytes, Entry | None] = {}
    added = changed = deleted = 0
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if old is not None and new is not None and old.path == new.path:
            if old != new:
                changes[new.path] = new
                changed += 1
            old, new = next(olds, None), next(news, None)
        elif new is None or (old is not None and order(old.path) < order(new.path)):
            assert old is not None
            changes[old.path] = None
            deleted += 1
            old = next(olds, None)
        else:
            changes[new.path] = new
            added += 1
            new = next(news, None)
    return changes, (added, changed, deleted)
