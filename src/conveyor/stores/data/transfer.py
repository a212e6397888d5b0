"""Moves versions between stores: what the other side lacks, packs as wholes, versions last.

A transfer that was cut off goes on where it stopped: what has arrived is found by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from blake3 import blake3

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import Conflict, LeaseLost, NotFound
from conveyor.stores.data import pack as packs
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.index import Found
from conveyor.stores.data.reach import reach
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.writer import Writer

_TRIES = 3
_AT_ONCE = 4  # packs under way at the same time
_WHOLE = 0.5  # share of a pack that must be wanted for it to be sent whole


@dataclass(frozen=True, slots=True)
class Transferred:
    """`versions` that are new on the other side; packs sent whole, chunks sent one by one, and the bytes of both."""

    project: str
    name: str
    versions: tuple[int, ...]
    packs: int
    chunks: int
    bytes: int


def transfer(
    source: DataStore,
    target: DataStore,
    project: str,
    name: str,
    *,
    renamed: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Transferred:
    """Sends all versions of a dataset that the target lacks, with their tags; Conflict when the two have gone different
    ways. `renamed` is the dataset's name at the target, where it is to be another."""
    for attempt in range(_TRIES):
        try:
            return _transfer(source, target, project, name, renamed or name, progress)
        except (LeaseLost, NotFound):  # gc works on one of the two, or something is really missing
            if attempt == _TRIES - 1:
                raise
            source.chunks.sync()
    raise AssertionError("the last try raises")


def _transfer(
    source: DataStore, target: DataStore, project: str, name: str, other: str, progress: Callable[[int, int], None]
) -> Transferred:
    fresh = _missing_versions(source, target, project, name, other)
    needed: set[bytes] = set()
    roots = (bytes.fromhex(version.root) for version in fresh if version.removed is None)
    reach(roots, source.reader, needed)
    located = source.chunks.need(list(needed))
    there = _there(source, target, located)
    lacking = {digest: place for digest, place in located.items() if digest not in there}
    sent, single, size, used = _send(source, target, lacking, progress)
    used |= set(there.values())
    for version in fresh:
        copy = replace(version, name=other)
        if not target.commit(copy, used) and target.versions.get(project, other, version.version) != copy:
            raise _diverged(source, target, other, version.version)
    tags = target.versions.tags(project, other)
    for tag, number in source.versions.tags(project, name).items():
        if tags.get(tag) != number:
            target.versions.tag(target.versions.get(project, other, number), tag, move=True)
    return Transferred(project, name, tuple(version.version for version in fresh), sent, single, size)


def _missing_versions(source: DataStore, target: DataStore, project: str, name: str, other: str) -> list[FilesVersion]:
    """Oldest first. The newest version that both have must be the same: then all before it are."""
    newest = source.versions.newest(project, name)
    if not newest:
        raise NotFound(f"{source.backend.url} has no dataset {project}/{name}", hint="Look at its name.")
    common = min(newest, target.versions.newest(project, other))
    if common:
        ours = replace(source.versions.get(project, name, common), name=other, removed=None)
        theirs = replace(target.versions.get(project, other, common), removed=None)
        if ours != theirs:
            raise _diverged(source, target, other, common)
    return [source.versions.get(project, name, number) for number in range(common + 1, newest + 1)]


def _there(source: DataStore, target: DataStore, located: Mapping[bytes, Found]) -> dict[bytes, bytes]:
    """The pack at the target of each chunk that it has already.

    A pack that was sent whole is the same on both sides, so that the index of the source tells what is in it; only
    where there are others is the target's own index asked.
    """
    known = source.chunks.index.packs()
    shared, others = set(), False
    for item in target.backend.list(packs.FOLDER):
        name = packs.name_of(item.key)
        if name is not None and name in known and known[name].size == item.size:
            shared.add(name)
        else:
            others = True
    condemned = target.condemned()
    shared -= condemned
    there = {digest: place.pack for digest, place in located.items() if place.pack in shared}
    if others:
        target.chunks.sync()
        rest = [digest for digest in located if digest not in there]
        there |= {digest: place.pack for digest, place in target.chunks.index.find(rest, condemned).items()}
    return there


def _send(
    source: DataStore, target: DataStore, lacking: Mapping[bytes, Found], progress: Callable[[int, int], None]
) -> tuple[int, int, int, set[bytes]]:
    """(packs, chunks, bytes) sent, and the packs at the target that have them."""
    known = source.chunks.index.packs()
    by_pack: dict[bytes, list[tuple[bytes, Found]]] = {}
    for digest, place in lacking.items():
        by_pack.setdefault(place.pack, []).append((digest, place))
    whole, single = [], []
    for name, inside in by_pack.items():
        if sum(place.stored for _, place in inside) >= known[name].size * _WHOLE:
            whole.append(name)
        else:
            single += [digest for digest, _ in inside]
    total = sum(known[name].size for name in whole) + sum(lacking[digest].stored for digest in single)
    done = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name in pool.map(lambda name: _copy(source, target, name, known[name].size), whole):
            if target.indexed:  # an index that is made later finds the pack by itself
                target.chunks.index.add(known[name], source.chunks.index.chunks_of(name))
            done += known[name].size
            progress(done, total)
    if not single:
        return len(whole), 0, done, set(whole)
    with Writer(target.chunks) as writer:
        for digest, raw in source.chunks.read(single):
            writer.add(digest, bytes(raw))
        writer.finish()
    progress(total, total)
    return len(whole), len(single), done + writer.stored, writer.used | set(whole)


def _copy(source: DataStore, target: DataStore, name: bytes, size: int) -> bytes:
    """One pack, checked on its way; its name."""

    def checked() -> Iterator[Bytes]:
        hasher = blake3()
        for piece in source.backend.pieces(key):
            hasher.update(piece)
            yield piece
        if hasher.digest() != name:
            raise packs.damaged(name.hex(), "its bytes are not those of its name")

    key = packs.key_of(name)
    target.backend.take(key, size, checked())
    return name


def _diverged(source: DataStore, target: DataStore, name: str, number: int) -> Conflict:
    return Conflict(
        f"{name}@v{number} is another version in {source.backend.url} than in {target.backend.url}",
        hint="Somebody else made a version of that number there. Send yours under another name with --as NAME.",
    )
