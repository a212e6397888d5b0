"""Collects garbage: chunks that no version needs. Safe beside writers and readers; every keep is explained.

A pack is condemned before it is deleted. Between the two, versions that appeared meanwhile are looked at, and a writer
that is about to commit sees what is condemned and stores it anew (`DataStore.commit`). On one machine a gate orders
the two within one run. On a store that machines share there is no gate: a condemned pack is deleted by a later run,
when more time has passed than any commit takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter

from conveyor.domain.files_version import FilesVersion
from conveyor.domain.packing import Fate, PackUse, PackVerdict, judge
from conveyor.stores.data import pack as packs
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.reach import reach
from conveyor.stores.data.store import CONDEMNED, DataStore
from conveyor.stores.data.versions import VERSIONS
from conveyor.stores.data.writer import Writer

_SETTLE = timedelta(minutes=10)  # longer than a writer takes between its last look and its commit


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that keeps what it needs alive, and why it is there itself."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collected:
    dry_run: bool
    versions: tuple[Kept, ...]
    packs: tuple[PackVerdict, ...]
    freed: int  # bytes
    waiting: int  # packs that are condemned, and deleted by a later run


def collect(store: DataStore, now: datetime, grace: timedelta, *, dry_run: bool = False) -> Collected:
    """Deletes what was written before `grace` and is needed by nothing. A removed version counts as needed for as long:
    a reader may be in the middle of it."""
    store.chunks.sync()
    living, kept = _living(store, now, grace)
    seen: set[bytes] = set()
    reach((bytes.fromhex(version.root) for version in living), store.reader, seen)
    verdicts = judge(_uses(store, seen, now), grace)
    if dry_run:
        freed = sum(_gain(verdict) for verdict in verdicts)
        return Collected(True, kept, tuple(verdicts), freed, 0)
    rewrite = [bytes.fromhex(each.pack.name) for each in verdicts if each.fate is Fate.REWRITE]
    delete = [bytes.fromhex(each.pack.name) for each in verdicts if each.fate is Fate.DELETE]
    _rewrite(store, rewrite, seen)
    gone, waiting = _delete(store, [*delete, *rewrite], {version.id for version in living}, now, grace)
    freed = sum(_gain(each) for each in verdicts if bytes.fromhex(each.pack.name) in gone)
    _sweep(store, now - grace)
    return Collected(False, kept, tuple(verdicts), freed, waiting)


def _living(store: DataStore, now: datetime, grace: timedelta) -> tuple[list[FilesVersion], tuple[Kept, ...]]:
    living, kept = [], []
    for version, tags in _all_versions(store):
        if version.removed is None:
            reason = f"tagged {', '.join(tags)}" if tags else "not removed"
        elif now - version.removed < grace:
            reason = "removed, but within the grace time"
        else:
            continue
        living.append(version)
        kept.append(Kept(version.id, reason))
    return living, tuple(kept)


def _all_versions(store: DataStore) -> Iterator[tuple[FilesVersion, list[str]]]:
    """Every version by its document, not by the hint at the newest."""
    tags: dict[str, dict[str, int]] = {}
    for item in sorted(store.backend.list(VERSIONS)):
        _, project, name, number = item.key.split("/")
        if f"{project}/{name}" not in tags:
            tags[f"{project}/{name}"] = store.versions.tags(project, name)
        version = store.versions.get(project, name, int(number))
        yield version, [tag for tag, at in tags[version.dataset].items() if at == version.version]


def _uses(store: DataStore, seen: set[bytes], now: datetime) -> list[PackUse]:
    """Every pack with what is needed of it. Of a chunk that several packs have, one is its home: a pack that
    is not condemned, the largest of those."""
    known = store.chunks.index.packs()
    condemned = store.condemned()
    rank = {name: (name not in condemned, pack.size, name) for name, pack in known.items()}
    live: dict[bytes, int] = {}
    rows = ((digest, name, stored) for digest, name, stored in store.chunks.index.everything() if digest in seen)
    for _, copies in groupby(rows, key=itemgetter(0)):
        _, home, stored = max(copies, key=lambda row: rank[row[1]])
        live[home] = live.get(home, 0) + stored
    result = []
    for pack in known.values():
        age = now - datetime.fromtimestamp(pack.modified, UTC)
        used = live.get(pack.name, 0)
        result.append(PackUse(pack.name.hex(), pack.size, used, max(0, pack.size - used - packs.FOOT_SIZE), age))
    return result


def _gain(verdict: PackVerdict) -> int:
    if verdict.fate is Fate.KEEP:
        return 0
    return verdict.pack.bytes - (verdict.pack.live if verdict.fate is Fate.REWRITE else 0)


def _rewrite(store: DataStore, names: Iterable[bytes], seen: set[bytes]) -> None:
    """The living chunks of these packs in new ones; until the old ones are gone, both are there."""
    with Writer(store.chunks, known=False) as writer:
        for name in names:
            wanted = [place.digest for place in store.chunks.index.chunks_of(name) if place.digest in seen]
            for digest, raw in store.chunks.read(wanted):
                writer.add(digest, bytes(raw))
        writer.finish()


def _delete(
    store: DataStore, names: list[bytes], marked: set[str], now: datetime, grace: timedelta
) -> tuple[set[bytes], int]:
    """Condemns, looks again, deletes. What was condemned by a run that was killed is taken up again."""
    before = _condemned(store)
    shared = not isinstance(store.backend, LocalBackend)
    condemned = {name: before.get(name, now) for name in names}
    condemned |= {name: since for name, since in before.items() if not _there(store, name)}
    if not condemned and not before:
        return set(), 0
    with store.gate(shared=False):
        _condemn(store, condemned)
    fresh: set[bytes] = set()
    newer = [version for version, _ in _all_versions(store) if version.removed is None and version.id not in marked]
    reach((bytes.fromhex(version.root) for version in newer), store.reader, fresh)
    elsewhere = store.chunks.index.find(list(fresh), condemned)
    spared = {place.pack for place in store.chunks.index.find(list(fresh - elsewhere.keys())).values()}
    ripe = {name for name, since in condemned.items() if not shared or now - since >= max(_SETTLE, grace)}
    gone = ripe - spared
    for name in gone:
        store.backend.delete(packs.key_of(name))
    store.chunks.index.forget(gone)
    left = {name: since for name, since in condemned.items() if name not in gone and name not in spared}
    _condemn(store, left)
    return gone, len(left)


def _there(store: DataStore, name: bytes) -> bool:
    return store.backend.head(packs.key_of(name)) is not None


def _condemned(store: DataStore) -> dict[bytes, datetime]:
    if store.backend.head(CONDEMNED) is None:
        return {}
    rows = [line.split() for line in store.backend.get(CONDEMNED).decode().splitlines()]
    return {bytes.fromhex(name): datetime.fromisoformat(since) for name, since in rows}


def _condemn(store: DataStore, condemned: dict[bytes, datetime]) -> None:
    if condemned:
        lines = [f"{name.hex()} {since.isoformat()}\n" for name, since in sorted(condemned.items())]
        store.backend.put(CONDEMNED, ["".join(lines).encode()])
    else:
        store.backend.delete(CONDEMNED)


def _sweep(store: DataStore, before: datetime) -> None:
    """Temporary files of writers that were killed."""
    if isinstance(store.backend, LocalBackend):
        for path in store.backend.leftovers(min(before.timestamp(), time.time() - 60)):
            if not _alive(path.name.partition("-")[0]):
                path.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
