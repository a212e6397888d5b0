"""Reads trees: all files in order, one file, the files of a folder, and what differs between two versions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from conveyor.stores.data import node as nodes
from conveyor.stores.data.chunks import Chunks
from conveyor.stores.data.node import Entry, Ref

_AT_ONCE = 64  # nodes read together


class Change(NamedTuple):
    """A path whose file differs: `old` is None where it is new, `new` where it is gone."""

    path: bytes
    old: Entry | None
    new: Entry | None


class TreeReader:
    """Nodes out of the chunks of a store. Those of the upper levels are kept: they are asked for again."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._kept: dict[bytes, bytes] = {}

    def get(self, digest: bytes) -> bytes:
        return self.many([digest])[digest]

    def many(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {digest: self._kept[digest] for digest in digests if digest in self._kept}
        for digest, raw in self._chunks.read([digest for digest in digests if digest not in found]):
            found[digest] = bytes(raw)
        if len(self._kept) > 4 * _AT_ONCE:
            self._kept.clear()
        self._kept.update(found)
        return found


def entries(root: bytes, source: TreeReader) -> Iterator[Entry]:
    """All files of a tree, in order, in bounded memory."""
    for leaf in leaves(root, source):
        yield from nodes.decode_leaf(leaf)


def leaves(root: bytes, source: TreeReader) -> Iterator[bytes]:
    raw = source.get(root)
    if nodes.level_of(raw) == 0:
        yield raw
        return
    yield from _below(nodes.decode_inner(raw), source)


def _below(refs: Sequence[Ref], source: TreeReader) -> Iterator[bytes]:
    for start in range(0, len(refs), _AT_ONCE):
        batch = refs[start : start + _AT_ONCE]
        found = source.many([ref.digest for ref in batch])
        for ref in batch:
            raw = found[ref.digest]
            if nodes.level_of(raw):
                yield from _below(nodes.decode_inner(raw), source)
            else:
                yield raw


def under(root: bytes, prefix: bytes, source: TreeReader) -> Iterator[Entry]:
    """The file at `prefix`, or those of the folder `prefix`, in order; all of them where it is empty. Nodes that hold
    none of them are not read."""
    if not prefix:
        yield from entries(root, source)
        return
    start = nodes.order(prefix)
    stop = start + b"\1"  # behind every path that goes on with a NUL, which stands for /
    raws = [source.get(root)]
    while raws:
        raw = raws.pop()
        if nodes.level_of(raw) == 0:
            for entry in nodes.decode_leaf(raw):
                if entry.path == prefix or entry.path.startswith(prefix + b"/"):
                    yield entry
            continue
        refs = nodes.decode_inner(raw)
        keys = [nodes.order(ref.last) for ref in refs]
        chosen = refs[bisect_left(keys, start) : bisect_left(keys, stop) + 1]
        found = source.many([ref.digest for ref in chosen])
        raws += [found[ref.digest] for ref in reversed(chosen)]


def find(root: bytes, path: bytes, source: TreeReader) -> Entry | None:
    """One file, at the cost of one node a level."""
    key, raw = nodes.order(path), source.get(root)
    while nodes.level_of(raw):
        refs = nodes.decode_inner(raw)
        place = bisect_left(refs, key, key=lambda ref: nodes.order(ref.last))
        if place == len(refs):
            return None
        raw = source.get(refs[place].digest)
    return next((entry for entry in nodes.decode_leaf(raw) if entry.path == path), None)


def differences(old: bytes, new: bytes, source: TreeReader) -> list[Change]:
    """What differs, in order. Nodes that both trees have are not read."""
    before, after = {old}, {new}
    before, after = before - after, after - before
    left: dict[bytes, Entry] = {}
    right: dict[bytes, Entry] = {}
    while before or after:
        raws = source.many(sorted(before | after))
        height = max(nodes.level_of(raw) for raw in raws.values())
        before, after = _lower(before, raws, height, left), _lower(after, raws, height, right)
        before, after = before - after, after - before
    paths = {path for path in left.keys() | right.keys() if left.get(path) != right.get(path)}
    return [Change(path, left.get(path), right.get(path)) for path in sorted(paths, key=nodes.order)]


def _lower(side: set[bytes], raws: dict[bytes, bytes], height: int, found: dict[bytes, Entry]) -> set[bytes]:
    """The nodes at `height` replaced by those below them; leaves are read into `found`."""
    result: set[bytes] = set()
    for digest in side:
        raw = raws[digest]
        if nodes.level_of(raw) < height:
            result.add(digest)
        elif height == 0:
            found.update((entry.path, entry) for entry in nodes.decode_leaf(raw))
        else:
            result.update(ref.digest for ref in nodes.decode_inner(raw))
    return result


def readable(root: bytes, source: TreeReader, bad: Container[bytes]) -> Iterator[tuple[bytes, Entry | None]]:
    """(content digest, file) of all files whose nodes can be read, and (node, None) for each node in `bad`."""
    waiting = [root]
    while waiting:
        digest = waiting.pop()
        if digest in bad:
            yield digest, None
            continue
        raw = source.get(digest)
        if nodes.level_of(raw):
            waiting += [ref.digest for ref in nodes.decode_inner(raw)]
        else:
            yield from ((entry.digest, entry) for entry in nodes.decode_leaf(raw))
