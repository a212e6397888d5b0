"""Objects: what comes out is what went in, or an error that says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conveyor.errors import CorruptObject, NoSpace, NotFound
from conveyor.stores.objects import Objects, digest_bytes, digest_file


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(str(tmp_path / "objects"), tmp_path / "cache")


def _files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(data=st.binary(max_size=2000))
def test_bytes_come_back_by_their_digest(objects: Objects, data: bytes) -> None:
    digest = objects.put(data)
    assert digest == digest_bytes(data)
    assert objects.get(digest) == data
    assert objects.path(digest).read_bytes() == data
    assert objects.has(digest)


def test_the_same_bytes_are_stored_once_whichever_way_they_come(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"some rows" * 1000)
    digests = {objects.put_file(source), objects.put(source.read_bytes()), objects.put_file(source)}
    assert digests == {digest_file(source)}
    assert len(_files(tmp_path)) == 1
    assert source.exists()


def test_a_flipped_bit_is_found_on_every_way_out(objects: Objects) -> None:
    digest = objects.put(b"a model that was trained for hours")
    path = objects.path(digest)
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    for read in (objects.get, objects.path):
        with pytest.raises(CorruptObject, match=digest[:12]):
            read(digest)


def test_a_missing_object_is_said_to_be_missing(objects: Objects) -> None:
    nowhere = digest_bytes(b"never stored")
    assert not objects.has(nowhere)
    for read in (objects.get, objects.path):
        with pytest.raises(NotFound, match=nowhere[:12]):
            read(nowhere)
    objects.delete(nowhere)
    digest = objects.put(b"short-lived")
    objects.delete(digest)
    assert not objects.has(digest)


@pytest.mark.parametrize("remote", [False, True])
def test_old_objects_are_discarded_and_what_was_stored_again_is_young(tmp_path: Path, remote: bool) -> None:
    objects = Objects("memory:///" if remote else str(tmp_path / "objects"), tmp_path / "cache")
    one, other = objects.put(b"one"), objects.put(b"other")
    (tmp_path / "objects" / "notes.txt").parent.mkdir(exist_ok=True)
    (tmp_path / "objects" / "notes.txt").write_text("of somebody else")
    stored = {each.digest: each for each in objects.stored()}
    assert set(stored) == {one, other}
    assert stored[one].bytes == 3
    before = max(each.modified for each in stored.values()) + timedelta(microseconds=1)
    assert not objects.discard(one, before - timedelta(days=1))
    while not remote and datetime.now(UTC) <= before:
        pass
    objects.path(one)
    if not remote:
        objects.put(b"other")
        assert not objects.discard(other, before)
    assert objects.discard(one, before)
    assert not objects.discard(one, before)
    assert not objects.has(one)
    with pytest.raises(NotFound):
        objects.path(one)  # nor is a copy of it left
    assert objects.get(other) == b"other"
    if not remote:
        left = objects.path(other).with_name(objects.path(other).name + ".gone")  # by a crash
        left.write_bytes(b"other")
        assert [each.digest for each in objects.stored()] == [other]
        assert not left.exists()


def test_a_remote_store_gives_verified_local_files(tmp_path: Path) -> None:
    objects = Objects("memory:///", tmp_path / "cache")
    digest = objects.put(b"far away")
    assert objects.get(digest) == b"far away"
    path = objects.path(digest)
    assert path.is_relative_to(tmp_path / "cache")
    path.write_bytes(b"far awry")
    with pytest.raises(CorruptObject):
        objects.path(digest)
    with pytest.raises(NotFound):
        objects.get(digest_bytes(b"not there"))


def test_a_full_disk_writes_nothing(objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = objects.put(b"from before")
    monkeypatch.setattr("conveyor.stores.objects._RESERVE", 1 << 62)
    with pytest.raises(NoSpace, match="no room"):
        objects.put(b"one too many")
    assert objects.get(kept) == b"from before"
    assert len(_files(tmp_path)) == 1
