"""Reads everything that is stored and says what is damaged, and which versions and files that hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from blake3 import blake3

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import ConveyorError, CorruptObject, NotFound
from conveyor.stores.data import pack as packs
from conveyor.stores.data import recipe, walk
from conveyor.stores.data.chunks import checked
from conveyor.stores.data.node import CUT
from conveyor.stores.data.reach import reach
from conveyor.stores.data.scan import show
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.versions import VERSIONS

_SHOWN = 20  # files that a damage names; all of their versions are


@dataclass(frozen=True, slots=True)
class Damage:
    """`what` is pack, chunk, node or version. `hits` are the files it makes unreadable, as `name@v3: path`."""

    what: str
    name: str
    why: str
    hits: tuple[str, ...] = ()
    repaired: bool = False


@dataclass(slots=True)
class Report:
    packs: int = 0
    chunks: int = 0
    bytes: int = 0
    versions: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(damage.repaired for damage in self.damages)


@dataclass(slots=True)
class Findings:
    """What repair needs: packs whose bytes are not as they were, and chunks that cannot be read by any way."""

    report: Report = field(default_factory=Report)
    packs: dict[bytes, str] = field(default_factory=dict)
    chunks: dict[bytes, str] = field(default_factory=dict)
    documents: list[str] = field(default_factory=list)
    versions: list[FilesVersion] = field(default_factory=list)


def verify(store: DataStore, progress: Callable[[int, int], None] = lambda done, total: None) -> Findings:
    found = Findings()
    store.chunks.sync()
    _packs(store, found, progress)
    versions = _versions(store, found)
    found.versions = versions
    needs(store, versions, found)
    hits = _hits(store, versions, found)
    report = found.report
    report.damages += [Damage("pack", name.hex(), why) for name, why in sorted(found.packs.items())]
    report.damages += [
        Damage("chunk", digest.hex(), why, tuple(hits.get(digest, ()))) for digest, why in sorted(found.chunks.items())
    ]
    return found


def _packs(store: DataStore, found: Findings, progress: Callable[[int, int], None]) -> None:
    items = sorted(item for item in store.backend.list(packs.FOLDER))
    total, done = sum(item.size for item in items), 0
    with ThreadPoolExecutor(2) as pool:
        for item, (count, bad, why) in zip(
            items, pool.map(lambda item: _read_pack(store, item.key), items), strict=True
        ):
            found.report.packs += 1
            found.report.chunks += count
            found.report.bytes += item.size
            name = bytes.fromhex(item.key.rpartition("/")[2])
            if why:
                found.packs[name] = why
            found.chunks.update((digest, f"in pack {name.hex()[:12]}: {reason}") for digest, reason in bad)
            done += item.size
            progress(done, total)


def _read_pack(store: DataStore, key: str) -> tuple[int, list[tuple[bytes, str]], str]:
    """(chunks, damaged ones with the reason, what is wrong with the pack)."""
    name = bytes.fromhex(key.rpartition("/")[2])
    try:
        raw = memoryview(store.backend.get(key))
    except NotFound:
        return 0, [], ""  # gc has just deleted it
    whole = blake3(raw).digest() == name
    try:
        length = packs.index_size(raw[-packs.FOOT_SIZE :], len(raw), name.hex())
        index = raw[len(raw) - packs.FOOT_SIZE - length : len(raw) - packs.FOOT_SIZE]
        places = packs.places(index, raw[-packs.FOOT_SIZE :], name.hex())
        why = "" if whole else "its bytes were changed"
    except CorruptObject as error:
        places = store.chunks.index.chunks_of(name)  # as it was before it was damaged, where that is known
        why = error.message.partition(": ")[2]
    bad = []
    for place in places:
        try:
            checked(place.digest, raw[place.offset : place.offset + place.stored], place.raw)
        except CorruptObject:
            bad.append((place.digest, "its bytes are not those of its digest"))
    return len(places), bad, why


def _versions(store: DataStore, found: Findings) -> list[FilesVersion]:
    """Those not removed. Numbers are without gaps: a missing document is damage."""
    result: list[FilesVersion] = []
    highest: dict[tuple[str, str], int] = {}
    for item in sorted(store.backend.list(VERSIONS)):
        _, project, name, number = item.key.split("/")
        last = highest.get((project, name), 0)
        for gap in range(last + 1, int(number)):
            _document(found, f"{VERSIONS}{project}/{name}/{gap:09d}", f"{name}@v{gap}", "its document is missing")
        highest[project, name] = int(number)
        try:
            version = store.versions.get(project, name, int(number))
        except CorruptObject as error:
            _document(found, item.key, f"{name}@v{int(number)}", error.message)
            continue
        found.report.versions += 1
        if version.removed is None:
            result.append(version)
    return result


def _document(found: Findings, key: str, name: str, why: str) -> None:
    found.documents.append(key)
    found.report.damages.append(Damage("version", name, why))


def needs(store: DataStore, versions: Sequence[FilesVersion], found: Findings) -> None:
    """Chunks that a version needs and no pack has."""
    needed: set[bytes] = set()

    def broken(digest: bytes, error: ConveyorError) -> None:
        found.chunks.setdefault(digest, "missing" if isinstance(error, NotFound) else error.message)

    reach((bytes.fromhex(version.root) for version in versions), store.reader, needed, broken)
    there = store.chunks.index.find(list(needed))
    for digest in needed - there.keys():
        found.chunks.setdefault(digest, "missing: no pack has it")
    for digest in [digest for digest in found.chunks if digest in there and there[digest].pack not in found.packs]:
        if found.chunks[digest].startswith("in pack"):  # damaged in one pack, and read from another that is whole
            del found.chunks[digest]


def _hits(store: DataStore, versions: Sequence[FilesVersion], found: Findings) -> dict[bytes, list[str]]:
    """The files that damaged chunks belong to, version by version; shared nodes are looked into once."""
    hits: dict[bytes, list[str]] = {}
    if not found.chunks:
        return hits
    for version in versions:
        for digest, path in _bad_files(store, version, found.chunks):
            named = hits.setdefault(digest, [])
            if len(named) < _SHOWN:
                named.append(f"{version.name}@v{version.version}: {path}")
    return hits


def _bad_files(store: DataStore, version: FilesVersion, bad: dict[bytes, str]) -> Iterator[tuple[bytes, str]]:
    root = bytes.fromhex(version.root)
    for digest, what in walk.readable(root, store.reader, bad):
        if what is None:
            yield digest, "a part of its list of files"
        elif what.digest in bad:
            yield what.digest, show(what.path)
        elif what.kind & CUT:
            yield from ((each, show(what.path)) for each in _pieces(store, what.digest, bad))


def _pieces(store: DataStore, root: bytes, bad: dict[bytes, str]) -> set[bytes]:
    """The damaged chunks of a large file."""
    found, waiting = set(), [root]
    while waiting:
        digest = waiting.pop()
        if digest in bad:
            found.add(digest)
            continue
        level, pieces = recipe.decode(store.reader.get(digest))
        if level:
            waiting += [piece.digest for piece in pieces]
        else:
            found |= {piece.digest for piece in pieces if piece.digest in bad}
    return found
