"""Damage is found, named and repaired; a full disk, a full queue of writers and gc lose nothing."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.errors import CorruptObject, NoSpace, NotFound
from conveyor.stores.data.backend import Backend
from conveyor.stores.data.gc import collect
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.pack import FOLDER
from conveyor.stores.data.repair import repair
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.transfer import transfer
from conveyor.stores.data.verify import verify

from .folders import put, read, stored, write
from .test_store import noise


def flip(backend: Backend, key: str) -> None:
    raw = bytearray(backend.get(key))
    raw[len(raw) // 3] ^= 4
    backend.put(key, [raw])


def cut_off(backend: Backend, key: str) -> None:
    raw = backend.get(key)
    backend.put(key, [raw[: len(raw) // 2]])


def take_away(backend: Backend, key: str) -> None:
    backend.delete(key)


@pytest.mark.parametrize("fault", [flip, cut_off, take_away])
@pytest.mark.parametrize("forgotten", [False, True])
def test_damage_is_found_named_and_repaired(
    store: DataStore,
    tmp_path: Path,
    local: Callable[[str], DataStore],
    fault: Callable[[Backend, str], None],
    forgotten: bool,
) -> None:
    files = {f"{number:02d}/cat.bin": noise(number, 30_000) for number in range(60)} | {"big": noise(99, 3_000_000)}
    folder = write(tmp_path / "in", files)
    put(store, "images", folder)
    files["late"] = noise(100, 1_000_000)
    version = put(store, "images", write(folder, files)).version
    remote = local("remote")
    transfer(store, remote, "shop", "images")
    (key,) = [item.key for item in store.backend.list(FOLDER) if item.size > 3_000_000]
    fault(store.backend, key)
    if forgotten:
        store.close()
        for path in (tmp_path / "cache" / "index").iterdir():
            path.unlink()
    fresh = DataStore(store.backend, tmp_path / "cache")
    with pytest.raises((CorruptObject, NotFound)) as told:
        stored(fresh, version)
    assert "conveyor data verify" in told.value.hint
    found = verify(fresh)
    assert not found.report.clean
    hits = {hit for damage in found.report.damages for hit in damage.hits}
    assert any(hit.startswith("images@v1: ") for hit in hits)
    if fault is flip:
        assert [damage.what for damage in found.report.damages] == ["pack", "chunk"]
    alone = repair(fresh, found, [])
    assert not alone.clean
    mended = repair(fresh, verify(fresh), [remote])
    assert mended.clean, [damage for damage in mended.damages if not damage.repaired]
    assert verify(fresh).report.damages == []
    assert stored(fresh, version) == files
    fresh.close()


def test_a_lost_document_of_a_version_is_named_and_repaired(
    store: DataStore, tmp_path: Path, local: Callable[[str], DataStore]
) -> None:
    for number in range(3):
        put(store, "notes", write(tmp_path / "in", {"n": str(number).encode()}))
    remote = local("remote")
    transfer(store, remote, "shop", "notes")
    store.backend.delete("versions/shop/notes/000000001")
    store.backend.put("versions/shop/notes/000000002", [b"{half a docu"])
    found = verify(store)
    assert [(damage.what, damage.name) for damage in found.report.damages] == [
        ("version", "notes@v1"),
        ("version", "notes@v2"),
    ]
    assert repair(store, found, [remote]).clean
    assert verify(store).report.damages == []


def test_a_twin_of_a_damaged_chunk_is_read_instead(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    one, other = local("one"), local("other")
    version = put(one, "notes", write(tmp_path / "in", {"a": noise(1, 9000)})).version
    put(other, "notes", write(tmp_path / "both", {"a": noise(1, 9000), "b": noise(2, 9000)}))
    (key,) = [item.key for item in one.backend.list(FOLDER)]
    for item in other.backend.list(FOLDER):
        one.backend.put(item.key, [other.backend.get(item.key)])
    one.chunks.refresh()
    flip(one.backend, key)
    assert stored(one, version) == {"a": noise(1, 9000)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Until there is no room left at all."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = DataStore(LocalBackend(small_disk / "data"), small_disk / "data" / "cache")
    files = {"first": noise(1, 2_000_000)}
    folder = write(tmp_path / "in", files)
    first = put(store, "blobs", folder).version
    more = files | {f"{number}": noise(number, 900_000) for number in range(2, 14)}
    write(folder, more)
    for _ in range(3):
        with pytest.raises(NoSpace, match="no room"):
            put(store, "blobs", folder)
        assert verify(store).report.damages == []
        assert stored(store, first) == files
        assert store.versions.newest("shop", "blobs") == 1
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(NoSpace):
        put(store, "blobs", write(tmp_path / "tiny", {"t": b"tiny"}))
    assert stored(store, first) == files
    filler.unlink()
    assert put(store, "blobs", write(tmp_path / "tiny", {"t": b"tiny"})).version.version == 2
    assert verify(store).report.damages == []
    assert list((small_disk / "data" / "tmp").iterdir()) == []
    store.close()


def test_sixteen_writers_of_one_machine_wait_for_each_other(tmp_path: Path) -> None:
    write(tmp_path / "in", {f"{number}.txt": str(number).encode() * 500 for number in range(16)})
    told: list[str] = []

    def run(number: int) -> int:
        from conveyor.stores.data.add import Watch, add
        from conveyor.stores.data.order import Order, sources_of

        store = DataStore(LocalBackend(tmp_path / "data"), tmp_path / "cache")
        sources = sources_of(store.folders, "shop", "notes", [str(tmp_path / "in" / f"{number}.txt")])
        made = add(store, Order("shop", "notes", sources), Watch(waits=told.append)).version.version
        store.close()
        return made

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(run, range(16))) == list(range(1, 17))
    assert told
    assert all(f"process {os.getpid()} on " in each for each in told if each != "another process")
    store = DataStore(LocalBackend(tmp_path / "data"), tmp_path / "cache")
    assert stored(store, store.versions.get("shop", "notes", 16)) == read(tmp_path / "in")
    store.close()


def test_gc_runs_beside_writers_and_readers(tmp_path: Path) -> None:
    """No grace at all: whatever is not needed at that moment goes at once. The same bytes come and go."""
    place, stop = LocalBackend(tmp_path / "data"), threading.Event()
    keep = {f"{number}": noise(number, 40_000) for number in range(20)}
    first = DataStore(place, tmp_path / "cache")
    kept = put(first, "kept", write(tmp_path / "kept", keep)).version

    def until(work: Callable[[DataStore], None]) -> None:
        store = DataStore(place, tmp_path / "cache")
        try:
            while not stop.is_set():
                work(store)
        finally:
            store.close()
            stop.set()

    def collecting(store: DataStore) -> None:
        collect(store, datetime.now(UTC), timedelta(0))

    def reading(store: DataStore) -> None:
        assert stored(store, kept) == keep

    rounds: list[int] = []

    def adding(store: DataStore) -> None:
        number = len(rounds)
        files = {f"{each}": noise(1000 + each, 50_000) for each in range(number % 7, number % 7 + 10)}
        made = put(store, "busy", write(tmp_path / "busy", files))
        assert stored(store, made.version) == files
        if number % 3 == 2 and made.fresh:
            store.versions.remove(made.version, datetime.now(UTC) - timedelta(days=1))
        rounds.append(number)
        if number >= 60:
            stop.set()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(until, work) for work in (collecting, reading, reading, adding)]
        for job in jobs:
            job.result(timeout=200)
    assert len(rounds) > 60
    assert verify(first).report.damages == []
    first.close()
