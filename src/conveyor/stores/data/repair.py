"""Takes good copies of damaged chunks from other stores, and puts them where the damaged ones were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from conveyor.errors import ConveyorError, CorruptObject, NotFound
from conveyor.stores.data import pack as packs
from conveyor.stores.data.chunks import checked
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.verify import Damage, Findings, Report, needs
from conveyor.stores.data.writer import Writer


def repair(store: DataStore, found: Findings, others: Sequence[DataStore]) -> Report:
    """The report with what was repaired. A damaged pack is deleted only when all that was in it is whole elsewhere."""
    documents = _documents(store, found.documents, others)
    with Writer(store.chunks, known=False) as writer:
        mended = _take(writer, set(found.chunks), others)
        for name in found.packs:
            _salvage(store, name, found, writer)
        writer.finish()
    mended |= _deeper(store, found, others)
    left = found.chunks.keys() - mended
    emptied = set()
    for name in found.packs:
        inside = {place.digest for place in store.chunks.index.chunks_of(name)}
        if not inside & left:
            emptied.add(name)
    store.chunks.index.forget(found.packs)
    for name in emptied:
        store.backend.delete(packs.key_of(name))
    whole = {name.hex() for name in emptied} | {digest.hex() for digest in mended} | documents
    damages = [replace(each, repaired=each.name in whole) for each in found.report.damages]
    return replace(found.report, damages=damages)


def _take(writer: Writer, wanted: set[bytes], others: Iterable[DataStore]) -> set[bytes]:
    """Those of the wanted chunks that were found whole, each handed to the writer."""
    mended: set[bytes] = set()
    for other in others:
        for digest in sorted(wanted - mended):
            try:
                raw = other.chunks.get(digest)
            except (NotFound, CorruptObject):
                continue
            writer.add(digest, raw)
            mended.add(digest)
    return mended


def _deeper(store: DataStore, found: Findings, others: Sequence[DataStore]) -> set[bytes]:
    """What was behind nodes that could not be read before, and is missing too: taken until nothing new is found."""
    mended: set[bytes] = set()
    while True:
        again = Findings()
        needs(store, found.versions, again)
        fresh = again.chunks.keys() - found.chunks.keys()
        if not fresh:
            return mended
        found.chunks.update({digest: again.chunks[digest] for digest in fresh})
        found.report.damages += [Damage("chunk", digest.hex(), again.chunks[digest]) for digest in sorted(fresh)]
        with Writer(store.chunks, known=False) as writer:
            mended |= _take(writer, fresh, others)
            writer.finish()


def _salvage(store: DataStore, name: bytes, found: Findings, writer: Writer) -> None:
    """The chunks of a damaged pack that are whole."""
    raw = memoryview(store.backend.get(packs.key_of(name)))
    for place in store.chunks.index.chunks_of(name):
        if place.digest not in found.chunks:
            stored = raw[place.offset : place.offset + place.stored]
            writer.add(place.digest, bytes(checked(place.digest, stored, place.raw)))


def _documents(store: DataStore, keys: Iterable[str], others: Sequence[DataStore]) -> set[str]:
    """Names of versions whose documents were taken from another store."""
    mended = set()
    for key in keys:
        _, project, name, number = key.split("/")
        for other in others:
            try:
                version = other.versions.get(project, name, int(number))
            except ConveyorError:
                continue
            store.versions.replace(version)
            mended.add(f"{name}@v{int(number)}")
            break
    return mended
