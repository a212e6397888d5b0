"""The store on every backend: what was added comes back, costs what is new, and is collected when nothing needs it."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.domain.packing import Fate
from conveyor.domain.reference import parse
from conveyor.errors import Conflict, NotFound
from conveyor.stores.data import state as states
from conveyor.stores.data import walk
from conveyor.stores.data.checkout import checkout
from conveyor.stores.data.gc import collect
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.status import status
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.transfer import transfer
from conveyor.stores.data.verify import verify

from .folders import put, read, stored, write

LATER = timedelta(days=400)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def some(seed: int = 0) -> dict[str, bytes]:
    small = {f"train/{number % 7}/{number:04d}.bin": noise(seed + number, number * 3) for number in range(400)}
    text = "".join(f"{number},row {number}\n" for number in range(120_000)).encode()
    return small | {
        "big.csv": text,
        "empty": b"",
        "large.bin": noise(seed, 3_000_000),
        "twin.bin": noise(seed, 3_000_000),
    }


def test_a_folder_comes_back_as_it_was(store: DataStore, tmp_path: Path) -> None:
    files = some()
    folder = write(tmp_path / "in", files)
    (folder / "train/0/run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "train/0/run.sh").chmod(0o755)
    (folder / "link").symlink_to("train/0/run.sh")
    done = put(store, "images", folder)
    assert (done.version.version, done.version.files, done.fresh) == (1, len(files) + 2, True)
    assert done.version.stored < 5_500_000  # the twin costs nothing, the table is compressed
    out = tmp_path / "out"
    report = checkout(store, done.version, out)
    assert report.written == len(files) + 2
    assert read(out) == read(folder)
    assert (out / "train/0/run.sh").stat().st_mode & 0o100
    assert (out / "link").readlink() == Path("train/0/run.sh")
    again = checkout(store, done.version, out)
    assert (again.written, again.deleted) == (0, 0)
    assert verify(store).report.damages == []


def test_only_what_changed_is_read_and_stored(store: DataStore, tmp_path: Path) -> None:
    files = some()
    folder = write(tmp_path / "in", files)
    first = put(store, "images", folder).version
    assert put(store, "images", folder).fresh is False
    files["train/3/0003.bin"] = b"changed"
    files["train/new.bin"] = b"new"
    del files["train/0/0000.bin"]
    files["big.csv"] += b"one,more\n"
    write(folder, files)
    second = put(store, "images", folder)
    version = second.version
    assert (version.added, version.changed, version.deleted, version.parent) == (1, 2, 1, 1)
    assert second.read <= 3 + 400 // 20  # what was touched, and what is too young to be sure of
    assert version.stored < 200_000
    assert stored(store, version) == files
    assert stored(store, first) == some()
    changes = walk.differences(bytes.fromhex(first.root), bytes.fromhex(version.root), store.reader)
    assert {change.path.decode() for change in changes} == {
        "train/3/0003.bin",
        "train/new.bin",
        "train/0/0000.bin",
        "big.csv",
    }


def test_parts_are_put_beside_what_is_there(store: DataStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", some())
    write(tmp_path / "days", {"day1.csv": b"1", "day2.csv": b"2", "more/a": b"a"})
    put(store, "days", tmp_path / "days" / "day1.csv")
    two = put(store, "days", tmp_path / "days" / "day2.csv", tmp_path / "days" / "more").version
    assert stored(store, two) == {"day1.csv": b"1", "day2.csv": b"2", "more/a": b"a"}
    placed = put(store, "days", tmp_path / "days" / "more", at="x/y").version
    assert stored(store, placed).keys() == {"day1.csv", "day2.csv", "more/a", "x/y/a"}
    put(store, "images", folder)
    (folder / "train/1/0001.bin").write_bytes(b"one")
    (folder / "train/2/0002.bin").write_bytes(b"not yet")
    one = put(store, "images", folder / "train/1/0001.bin").version
    assert (one.changed, one.files) == (1, len(some()))
    assert stored(store, one) == some() | {"train/1/0001.bin": b"one"}
    (folder / "train/2/0002.bin").unlink()
    rest = put(store, "images", folder / "train/2").version
    assert (rest.changed, rest.deleted) == (0, 1)
    (state,) = [status(path) for path in states.listed(store.folders, "shop", "images")]
    assert state is not None
    assert state.clean


def test_status_tells_what_was_touched(store: DataStore, tmp_path: Path) -> None:
    files = {f"{number}.txt": str(number).encode() for number in range(50)}
    folder = write(tmp_path / "in", files)
    put(store, "notes", folder)
    (path,) = states.listed(store.folders)
    first = status(path)
    assert first is not None
    assert first.clean
    write(folder, {**files, "3.txt": b"X", "new": b"n"})
    (folder / "4.txt").unlink()
    (folder / "5.txt").touch()
    (folder / "6.txt").chmod(0o755)
    now = status(path)
    assert now is not None
    assert (now.added, now.changed, now.deleted) == ((b"new",), (b"3.txt", b"6.txt"), (b"4.txt",))


def test_checkout_keeps_what_is_the_users(store: DataStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a": b"1", "b": b"1", "dir/c": b"1"})
    first = put(store, "notes", folder).version
    write(folder, {"a": b"2", "b": b"1"})
    second = put(store, "notes", folder).version
    (folder / "mine").write_bytes(b"mine")
    (folder / "a").write_bytes(b"edited")
    with pytest.raises(Conflict, match="a"):
        checkout(store, first, folder)
    assert read(folder) == {"a": b"edited", "b": b"1", "mine": b"mine"}
    checkout(store, first, folder, force=True)
    assert read(folder) == {"a": b"1", "b": b"1", "dir/c": b"1", "mine": b"mine"}
    checkout(store, second, folder)
    assert read(folder) == {"a": b"2", "b": b"1", "mine": b"mine"}
    assert not (folder / "dir").exists()


def test_versions_are_found_by_number_tag_and_time(store: DataStore, tmp_path: Path) -> None:
    moments = []
    for number in range(1, 6):
        put(store, "notes", write(tmp_path / "in", {"n": str(number).encode()}))
        moments.append(datetime.now(UTC))
    versions = store.versions

    def at(text: str) -> int:
        return versions.resolve("shop", parse(text)).version

    versions.tag(versions.get("shop", "notes", 2), "clean")
    with pytest.raises(Conflict, match="clean is version 2"):
        versions.tag(versions.get("shop", "notes", 3), "clean")
    assert [at(f"notes@{each}") for each in ("v3", "clean", "latest")] == [3, 2, 5]
    assert [at(f"notes@{moment.isoformat()}") for moment in moments] == [1, 2, 3, 4, 5]
    with pytest.raises(NotFound):
        at("notes@2001-01-01")
    versions.remove(versions.get("shop", "notes", 5), datetime.now(UTC))
    assert at("notes") == 4
    with pytest.raises(NotFound, match="removed"):
        at("notes@v5")
    with pytest.raises(Conflict, match="tagged clean"):
        versions.remove(versions.get("shop", "notes", 2), datetime.now(UTC))
    assert put(store, "notes", write(tmp_path / "in", {"n": b"six"})).version.version == 6
    assert [version.version for version in versions.page("shop", "notes", limit=3)] == [6, 5, 4]
    assert [version.version for version in versions.page("shop", "notes", before=4, limit=2)] == [3, 2]
    store.backend.delete("head/shop/notes")
    assert versions.newest("shop", "notes") == 6


def test_sixteen_writers_make_sixteen_versions(store: DataStore, tmp_path: Path) -> None:
    """Each on a machine of its own, so that no lock helps them."""
    for number in range(16):
        write(tmp_path / "in", {f"{number}.txt": str(number).encode() * 1000})

    def run(number: int) -> int:
        mine = DataStore(store.backend, tmp_path / f"machine-{number}")
        made = put(mine, "notes", tmp_path / "in" / f"{number}.txt").version.version
        mine.close()
        return made

    write(tmp_path / "in", {f"{number}.txt": str(number).encode() * 1000 for number in range(16)})
    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(run, range(16)))
    assert sorted(numbers) == list(range(1, 17))
    newest = store.versions.get("shop", "notes", 16)
    assert stored(store, newest) == {f"{number}.txt": str(number).encode() * 1000 for number in range(16)}


def test_gc_frees_what_nothing_needs_and_explains_what_stays(store: DataStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"old": noise(1, 2_500_000), "both": noise(2, 900_000)})
    first = put(store, "blobs", folder).version
    second = put(store, "blobs", write(folder, {"both": noise(2, 900_000), "new": noise(3, 500_000)})).version
    now = datetime.now(UTC) + LATER
    assert collect(store, now, timedelta(days=1)).freed == 0
    store.versions.remove(first, datetime.now(UTC))
    early = collect(store, datetime.now(UTC), timedelta(days=1), dry_run=True)
    assert {verdict.fate for verdict in early.packs} == {Fate.KEEP}
    assert [kept.reason for kept in early.versions] == ["removed, but within the grace time", "not removed"]
    plan = collect(store, now, timedelta(days=1), dry_run=True)
    assert plan.freed > 2_400_000
    assert all(verdict.reason for verdict in plan.packs)
    before = sum(item.size for item in store.backend.list("packs/"))
    done = collect(store, now, timedelta(days=1))
    if not isinstance(store.backend, LocalBackend):  # what is shared between machines goes in two runs
        assert done.waiting
        collect(store, now + timedelta(days=2), timedelta(days=1))
    after = sum(item.size for item in store.backend.list("packs/"))
    assert before - after > 2_400_000
    assert stored(store, second) == {"both": noise(2, 900_000), "new": noise(3, 500_000)}
    assert verify(store).report.damages == []
    assert store.backend.head("condemned") is None
    put(store, "blobs", write(folder, {"old": noise(1, 2_500_000)}))
    assert verify(store).report.damages == []


def test_what_gc_condemned_is_stored_anew(store: DataStore, tmp_path: Path) -> None:
    """A writer that relied on a pack finds, when it commits, that gc has condemned it."""
    folder = write(tmp_path / "in", {"a": noise(1, 5000)})
    put(store, "notes", folder)
    (item,) = store.backend.list("packs/")
    store.backend.put("condemned", [f"{item.key.rpartition('/')[2]} {datetime.now(UTC).isoformat()}\n".encode()])
    other = write(tmp_path / "other", {"same": noise(1, 5000)})
    made = put(store, "others", other).version
    store.backend.delete(item.key)
    store.backend.delete("condemned")
    fresh = DataStore(store.backend, tmp_path / "another")
    assert stored(fresh, made) == {"same": noise(1, 5000)}
    fresh.close()


def test_versions_go_to_a_remote_and_come_back(store: DataStore, tmp_path: Path, local: object) -> None:
    here: DataStore = local("here")  # type: ignore[operator]
    folder = write(tmp_path / "in", some())
    first = put(here, "images", folder).version
    here.versions.tag(first, "clean")
    sent = transfer(here, store, "shop", "images")
    assert (sent.versions, sent.chunks) == ((1,), 0)
    write(folder, some() | {"train/0/0000.bin": b"X"})
    second = put(here, "images", folder).version
    more = transfer(here, store, "shop", "images")
    assert more.versions == (2,)
    assert more.bytes < 100_000
    assert transfer(here, store, "shop", "images").bytes == 0
    back: DataStore = local("back")  # type: ignore[operator]
    transfer(store, back, "shop", "images")
    assert stored(back, second) == read(folder)
    assert back.versions.tags("shop", "images") == {"clean": 1}
    assert verify(back).report.damages == []
    put(back, "images", write(tmp_path / "mine", {"other": b"way"}))
    put(here, "images", write(folder, {"one": b"way"}))
    transfer(here, store, "shop", "images")
    with pytest.raises(Conflict, match="another version"):
        transfer(back, store, "shop", "images")
    renamed = transfer(back, store, "shop", "images", renamed="mine")
    assert renamed.versions == (1, 2, 3)
    assert store.versions.get("shop", "mine", 3) == replace(back.versions.get("shop", "images", 3), name="mine")


def test_what_a_transfer_brought_is_stored_once(store: DataStore, tmp_path: Path, local: object) -> None:
    here: DataStore = local("here")  # type: ignore[operator]
    put(here, "mine", write(tmp_path / "mine", {"other": noise(2, 5000)}))
    folder = write(tmp_path / "in", some())
    put(store, "images", folder)
    transfer(store, here, "shop", "images")
    assert put(here, "again", folder).version.stored == 0
    assert transfer(here, store, "shop", "again").bytes == 0
    (pack,) = (item.key for item in store.backend.list("packs/"))
    store.backend.put(pack, [store.backend.get(pack)[:-1]])  # cut off at the remote: sent again
    assert transfer(here, store, "shop", "images").bytes == 0
    put(here, "images", write(folder, some() | {"more": b"of it"}))
    store.chunks.index.forget(store.chunks.index.packs())
    assert transfer(here, store, "shop", "images").packs == 2
    assert verify(store).report.damages == []


def test_the_index_is_only_a_cache(store: DataStore, tmp_path: Path) -> None:
    files = some()
    version = put(store, "images", write(tmp_path / "in", files)).version
    store.close()
    for path in (tmp_path / "cache" / "index").iterdir():
        path.write_bytes(b"not a database at all" * 500)
    damaged = DataStore(store.backend, tmp_path / "cache")
    assert stored(damaged, version) == files
    damaged.close()
    fresh = DataStore(store.backend, tmp_path / "elsewhere")
    assert stored(fresh, version) == files
    again = put(fresh, "copy", tmp_path / "in").version
    assert again.stored == 0
    fresh.close()


def test_a_file_of_another_owner_is_read(store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file's owner may read it without its time of access being written; others read it the common way."""
    opened = os.open

    def as_another(path: bytes, flags: int, *rest: int) -> int:
        if flags & getattr(os, "O_NOATIME", 0):
            raise PermissionError(1, "Operation not permitted")
        return opened(path, flags, *rest)

    folder = write(tmp_path / "in", {"a": b"1"})
    monkeypatch.setattr(os, "open", as_another)
    assert put(store, "notes", folder).version.files == 1
