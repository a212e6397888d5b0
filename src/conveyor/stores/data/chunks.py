"""Chunks: bytes by their BLAKE3, stored once, gathered into packs, verified whenever they are read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from blake3 import blake3

from conveyor.errors import CorruptObject, NotFound
from conveyor.stores.data import pack as packs
from conveyor.stores.data.backend import Backend, Bytes
from conveyor.stores.data.compression import expand
from conveyor.stores.data.index import Found, Index, KnownPack

_GAP = 128 * 1024  # bytes between two chunks that are read through rather than skipped
_SPAN = 4 * 1024 * 1024  # bytes read at once
_TAIL = 64 * 1024  # bytes read of a pack's end at first: the foot, and most indexes whole


def digest_of(data: Bytes) -> bytes:
    return blake3(data).digest()


class Chunks:
    """Reads chunks. What is written goes through a `Writer`."""

    def __init__(self, backend: Backend, index: Index) -> None:
        self.backend = backend
        self.index = index
        if index.fresh:
            self.refresh()

    def find(self, digests: Sequence[bytes]) -> dict[bytes, Found]:
        """Where chunks are. A chunk that the index does not know is looked for in packs that are new to it."""
        found = self.index.find(digests)
        if len(found) < len(set(digests)) and self.refresh():
            found = self.index.find(digests)
        return found

    def get(self, digest: bytes) -> bytes:
        for _, raw in self.read([digest]):
            return bytes(raw)
        raise lost(digest)

    def read(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, Bytes]]:
        """(digest, raw bytes) of each, once, ordered as they lie in the packs; NotFound and CorruptObject as they are.

        A pack that gc has just rewritten is looked for again: readers wait for nobody.
        """
        wanted = dict.fromkeys(digests)
        for attempt in range(3):
            for name, places in _grouped(self.need(list(wanted))):
                try:
                    for digest, raw in self._read_pack(name, places):
                        del wanted[digest]
                        yield digest, raw
                except NotFound:
                    self.index.forget([name])
            if not wanted:
                return
            if attempt:
                time.sleep(0.05)
            self.refresh()
        raise lost(next(iter(wanted)))

    def refresh(self) -> int:
        """Takes the packs into the index that it does not know, and says how many. One whose end is damaged is left
        out; `verify` tells of it."""
        known = self.index.packs()
        fresh: dict[KnownPack, list[packs.Place]] = {}
        taken = 0
        for item in self.backend.list(packs.FOLDER):
            name = packs.name_of(item.key)
            if name is None or name in known:
                continue
            try:
                fresh[KnownPack(name, item.size, item.modified)] = self.places(name, item.size)
            except (CorruptObject, NotFound):
                continue
            taken += 1
            if len(fresh) >= 64:
                self.index.add_many(fresh)
                fresh = {}
        self.index.add_many(fresh)
        return taken

    def sync(self) -> None:
        """Makes the index tell of the packs that are there, and of no others."""
        there = {name for item in self.backend.list(packs.FOLDER) if (name := packs.name_of(item.key)) is not None}
        self.index.forget(self.index.packs().keys() - there)
        self.refresh()

    def places(self, name: bytes, size: int) -> list[packs.Place]:
        """What a pack says that it holds, from the index at its end."""
        key, text = packs.key_of(name), name.hex()
        start = max(0, size - _TAIL)
        (tail,) = self.backend.ranges(key, [(start, size - start)])
        foot = tail[-packs.FOOT_SIZE :]
        length = packs.index_size(foot, size, text)
        if length + packs.FOOT_SIZE <= len(tail):
            index = tail[len(tail) - packs.FOOT_SIZE - length : len(tail) - packs.FOOT_SIZE]
        else:
            (index,) = self.backend.ranges(key, [(size - packs.FOOT_SIZE - length, length)])
        return packs.places(index, foot, text)

    def need(self, digests: Sequence[bytes]) -> dict[bytes, Found]:
        """Where chunks are; NotFound for one that is nowhere."""
        found = self.find(digests)
        if len(found) < len(digests):
            raise lost(next(digest for digest in digests if digest not in found))
        return found

    def _read_pack(self, name: bytes, places: Sequence[tuple[bytes, Found]]) -> Iterator[tuple[bytes, Bytes]]:
        key = packs.key_of(name)
        for spans in _windows(places):
            parts = self.backend.ranges(key, [(start, end - start) for start, end, _ in spans])
            for part, (start, _, inside) in zip(parts, spans, strict=True):
                view = memoryview(part)
                for digest, place in inside:
                    at = place.offset - start
                    try:
                        raw = checked(digest, view[at : at + place.stored], place.raw)
                    except CorruptObject:
                        raw = self._copy(digest, name)
                    yield digest, raw

    def _copy(self, digest: bytes, damaged: bytes) -> Bytes:
        """The chunk out of another pack than the one where it is damaged."""
        for place in self.index.copies(digest):
            if place.pack != damaged:
                try:
                    (stored,) = self.backend.ranges(packs.key_of(place.pack), [(place.offset, place.stored)])
                    return checked(digest, stored, place.raw)
                except (CorruptObject, NotFound):
                    continue
        raise corrupt(digest)


def checked(digest: bytes, stored: Bytes, raw: int) -> Bytes:
    """The raw bytes of a stored chunk, when they are what the digest says."""
    try:
        data = expand(stored, raw)
    except CorruptObject:
        raise corrupt(digest) from None
    if blake3(data).digest() != digest:
        raise corrupt(digest)
    return data


def _grouped(found: dict[bytes, Found]) -> Iterator[tuple[bytes, list[tuple[bytes, Found]]]]:
    by_pack: dict[bytes, list[tuple[bytes, Found]]] = {}
    for digest, place in found.items():
        by_pack.setdefault(place.pack, []).append((digest, place))
    for name, places in by_pack.items():
        places.sort(key=lambda each: each[1].offset)
        yield name, places


Span = tuple[int, int, list[tuple[bytes, Found]]]


def _windows(places: Sequence[tuple[bytes, Found]]) -> Iterator[list[Span]]:
    """Neighbouring chunks are read as one span; the spans of one window are asked for together."""
    window: list[Span] = []
    held = 0
    for digest, place in places:
        end = place.offset + place.stored
        last = window[-1] if window else None
        if last and place.offset - last[1] <= _GAP and end - last[0] <= _SPAN:
            held += end - last[1]
            last[2].append((digest, place))
            window[-1] = (last[0], end, last[2])
            continue
        if held >= _SPAN or len(window) >= 64:
            yield window
            window, held = [], 0
        window.append((place.offset, end, [(digest, place)]))
        held += place.stored
    if window:
        yield window


def lost(digest: bytes) -> NotFound:
    return NotFound(
        f"chunk {digest.hex()[:12]} is in no pack of the store",
        hint="`conveyor data verify` tells what is affected; with --repair it takes good copies from a remote.",
    )


def corrupt(digest: bytes) -> CorruptObject:
    return CorruptObject(
        f"chunk {digest.hex()[:12]} does not hold the bytes that its digest says",
        hint="`conveyor data verify` tells what is affected; with --repair it takes good copies from a remote.",
    )
