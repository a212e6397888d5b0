"""A version's files as a Merkle search tree: built, and edited at the cost of what changes.

Where a node ends is decided by the paths in it, not by where it began: two trees with the same files are the same
nodes whatever their histories, and one changed file among 100,000 is one new node a level.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from conveyor.stores.data import node as nodes
from conveyor.stores.data.chunks import digest_of
from conveyor.stores.data.node import Entry, Ref

_SPREAD = 64  # entries that a node has on average
_MOST = 512  # entries, and
_MOST_BYTES = 256 * 1024  # bytes of paths, that no node exceeds

Put = Callable[[bytes, bytes], None]  # (digest, bytes): takes a node to be stored


class Nodes(Protocol):
    """Where nodes are read from: by digest, many at once."""

    def get(self, digest: bytes) -> bytes: ...

    def many(self, digests: Sequence[bytes]) -> dict[bytes, bytes]: ...


class Root(NamedTuple):
    """A whole tree: digest of its topmost node, number of files, their bytes."""

    digest: bytes
    files: int
    size: int


def build(entries: Iterable[Entry], put: Put) -> Root:
    """A tree of entries that are in order and have different paths."""
    refs = list(_cut(entries, 0, put))
    return _rise(refs, 0, put) if refs else _empty(put)


def edit(root: Root, changes: Mapping[bytes, Entry | None], source: Nodes, put: Put) -> Root:
    """The tree with other entries at these paths, or without them (None); equal to building it anew."""
    if not changes:
        return root
    level = nodes.level_of(source.get(root.digest))
    top = Ref(b"", root.files, root.size, root.digest)
    ordered = sorted(((nodes.order(path), entry) for path, entry in changes.items()), key=lambda each: each[0])
    edits: list[tuple[bytes, Entry | Ref | None]] = list(ordered)
    for height in range(level):
        edits = _edit_level(top, level, height, edits, source, put)
        if not edits:
            return root
    return _edit_top(source.get(root.digest), level, edits, source, put)


def _edit_level(
    top: Ref, level: int, height: int, edits: list[tuple[bytes, Entry | Ref | None]], source: Nodes, put: Put
) -> list[tuple[bytes, Entry | Ref | None]]:
    """Rewrites the nodes at `height` that the edits touch; what it returns are edits of the level above."""
    above: list[tuple[bytes, Entry | Ref | None]] = []
    place = 0
    while place < len(edits):
        old, rows, place = _gather(top, level, height, edits, place, source)
        fresh = list(_cut(rows, height, put))
        kept = {ref.digest for ref in fresh}
        if len(fresh) == len(old) and all(ref.digest in kept for ref in old):
            continue
        renewed: dict[bytes, Entry | Ref | None] = {nodes.order(ref.last): None for ref in old}
        renewed |= {nodes.order(ref.last): ref for ref in fresh}
        above += sorted(renewed.items())
    return above


def _gather(
    top: Ref, level: int, height: int, edits: list[tuple[bytes, Entry | Ref | None]], place: int, source: Nodes
) -> tuple[list[Ref], list[Entry] | list[Ref], int]:
    """Old nodes from the first edit on, their rows with the edits in them, up to where the new rows end as a node of
    the old tree ends; and the first edit that lies behind."""
    old: list[Ref] = []
    rows: list[Entry] | list[Ref] = []
    run = _Run(height)
    for ref, last in _from(top, level, height, edits[place][0], source):
        end = None if last else nodes.order(ref.last)
        start = place
        while place < len(edits) and (end is None or edits[place][0] <= end):
            place += 1
        old.append(ref)
        fresh = _merged(_rows(source.get(ref.digest), height), edits[start:place])
        rows += fresh  # type: ignore[operator]
        for row in fresh:
            run.take(row)
        if run.at_end:  # as the old tree has it: what follows is as it was
            break
    return old, rows, place


def _edit_top(raw: bytes, level: int, edits: list[tuple[bytes, Entry | Ref | None]], source: Nodes, put: Put) -> Root:
    rows = _merged(_rows(raw, level), edits)
    if not rows:
        return _empty(put)
    if level and len(rows) == 1:  # the tree has become lower
        (only,) = rows
        return _sink(only, source)  # type: ignore[arg-type]
    return _rise(list(_cut(rows, level, put)), level, put)


def _sink(ref: Ref, source: Nodes) -> Root:
    while True:
        raw = source.get(ref.digest)
        below = nodes.decode_inner(raw) if nodes.level_of(raw) else []
        if len(below) != 1:
            return Root(ref.digest, ref.files, ref.size)
        ref = below[0]


def _rise(refs: list[Ref], level: int, put: Put) -> Root:
    while len(refs) > 1:
        level += 1
        refs = list(_cut(refs, level, put))
    return Root(refs[0].digest, refs[0].files, refs[0].size)


def _empty(put: Put) -> Root:
    raw = nodes.encode_leaf([])
    digest = digest_of(raw)
    put(digest, raw)
    return Root(digest, 0, 0)


def _from(top: Ref, level: int, height: int, key: bytes, source: Nodes) -> Iterator[tuple[Ref, bool]]:
    """The nodes at `height` from the one where `key` belongs on, and whether each is the tree's last one."""

    def below(ref: Ref, at: int, start: bytes | None, final: bool) -> Iterator[tuple[Ref, bool]]:
        if at == height:
            yield ref, final
            return
        refs = nodes.decode_inner(source.get(ref.digest))
        first = 0
        if start is not None:
            first = min(bisect_left(refs, start, key=lambda each: nodes.order(each.last)), len(refs) - 1)
        for place in range(first, len(refs)):
            yield from below(refs[place], at - 1, start if place == first else None, final and place == len(refs) - 1)

    return below(top, level, key, True)


def _rows(raw: bytes, height: int) -> list[Entry] | list[Ref]:
    return nodes.decode_inner(raw) if height else nodes.decode_leaf(raw)


def _merged(
    rows: list[Entry] | list[Ref], edits: Sequence[tuple[bytes, Entry | Ref | None]]
) -> list[Entry] | list[Ref]:
    merged: dict[bytes, Entry | Ref | None] = {nodes.order(row[0]): row for row in rows}
    merged.update(edits)
    return [row for _, row in sorted(merged.items()) if row is not None]  # type: ignore[return-value]


class _Run:
    """Says after which rows a node ends; what it has seen since the last end decides with the row itself."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._count = 0
        self._bytes = 0
        self.at_end = True

    def take(self, row: Entry | Ref) -> None:
        self._count += 1
        self._bytes += len(row[0])
        mixed = (zlib.crc32(row[0], self._level) * 0x9E3779B1) & 0xFFFFFFFF
        self.at_end = (mixed >> 16) % _SPREAD == 0 or self._count >= _MOST or self._bytes >= _MOST_BYTES
        if self.at_end:
            self._count = self._bytes = 0


def _cut(rows: Iterable[Entry] | Iterable[Ref], level: int, put: Put) -> Iterator[Ref]:
    """Nodes of the rows, handed to `put`, and the references to them."""
    run, batch = _Run(level), []
    for row in rows:
        batch.append(row)
        run.take(row)
        if run.at_end:
            yield _node(batch, level, put)
            batch = []
    if batch:
        yield _node(batch, level, put)


def _node(rows: list[Entry | Ref], level: int, put: Put) -> Ref:
    if level:
        refs: list[Ref] = rows  # type: ignore[assignment]
        raw = nodes.encode_inner(level, refs)
        files, size = sum([ref.files for ref in refs]), sum([ref.size for ref in refs])
    else:
        entries: list[Entry] = rows  # type: ignore[assignment]
        raw = nodes.encode_leaf(entries)
        files, size = len(entries), sum([entry.size for entry in entries])
    digest = digest_of(raw)
    put(digest, raw)
    return Ref(rows[-1][0], files, size, digest)
