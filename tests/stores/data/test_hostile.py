"""Hostile names and contents: refused or handled, and nothing is written outside the folder."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conveyor.cli.files import export
from conveyor.domain.files_version import FilesVersion
from conveyor.domain.reference import is_tag, parse
from conveyor.errors import Conflict, ConveyorError, InputRejected, Refused
from conveyor.stores.data import node as nodes
from conveyor.stores.data import recipe, tree, walk
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.checkout import checkout
from conveyor.stores.data.chunks import digest_of
from conveyor.stores.data.intake import take
from conveyor.stores.data.node import CUT, LINK, Entry
from conveyor.stores.data.scan import Source, scan
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.writer import Writer

from .folders import put, read, stored, write


def forged(store: DataStore, entries: Iterable[tuple[bytes, int, bytes]]) -> FilesVersion:
    """A version that no `add` makes: what a remote that is not to be trusted may have."""
    with Writer(store.chunks) as writer:
        rows = []
        for path, kind, data in sorted(entries, key=lambda each: nodes.order(each[0])):
            writer.add(digest_of(data), data)
            rows.append(Entry(path, len(data), kind, digest_of(data)))
        root = tree.build(rows, writer.add)
        writer.finish()
    version = FilesVersion("shop", "evil", 1, root.digest.hex(), root.files, root.size, datetime.now(UTC))
    assert store.versions.create(version)
    return version


@pytest.mark.parametrize(
    "entries",
    [
        [(b"../outside", 0, b"x")],
        [(b"/etc/outside", 0, b"x")],
        [(b"a/../../outside", 0, b"x")],
        [(b"a/./b", 0, b"x")],
        [(b"a//b", 0, b"x")],
        [(b".git/hooks/pre-commit", 1, b"x")],
        [(b"deep/.conveyor/token", 0, b"x")],
        [(b"a", LINK, b"/tmp"), (b"b", 0, b"x")],
        [(b"a", LINK, b"../.."), (b"a/outside", 0, b"x")],
        [(b"a", LINK, b"b"), (b"a/outside", 0, b"x"), (b"b/c", 0, b"y")],
    ],
)
def test_a_forged_version_writes_nothing_outside(
    local: Callable[[str], DataStore], tmp_path: Path, entries: list[tuple[bytes, int, bytes]]
) -> None:
    store = local("store")
    target = tmp_path / "place" / "target"
    with pytest.raises((Refused, Conflict)):
        checkout(store, forged(store, entries), target)
    outside = [path for path in tmp_path.rglob("*outside*") if not path.is_relative_to(target)]
    assert outside == []
    assert not Path("/etc/outside").exists()


def test_a_link_in_the_folder_is_not_written_through(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    store = local("store")
    version = put(store, "notes", write(tmp_path / "in", {"dir/file": b"theirs", "top": b"theirs"})).version
    write(tmp_path / "elsewhere", {"file": b"mine"})
    target = tmp_path / "out"
    target.mkdir()
    (target / "dir").symlink_to(tmp_path / "elsewhere")
    with pytest.raises((Refused, Conflict)):
        checkout(store, version, target, force=True)
    assert read(tmp_path / "elsewhere") == {"file": b"mine"}
    (target / "dir").unlink()
    (target / "top").symlink_to(tmp_path / "elsewhere" / "file")
    checkout(store, version, target, force=True)
    assert read(target) == {"dir/file": b"theirs", "top": b"theirs"}
    assert read(tmp_path / "elsewhere") == {"file": b"mine"}


def test_links_that_stay_inside_are_kept_and_loops_end(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    store = local("store")
    folder = write(tmp_path / "in", {"a/file": b"1", "b/other": b"2"})
    (folder / "a" / "loop").symlink_to("../a")
    (folder / "self").symlink_to("self")
    (folder / "dangling").symlink_to("not/there")
    version = put(store, "notes", folder).version
    assert version.files == 5
    out = tmp_path / "out"
    checkout(store, version, out)
    assert {path: (out / path).readlink() for path in ("a/loop", "self", "dangling")} == {
        "a/loop": Path("../a"),
        "self": Path("self"),
        "dangling": Path("not/there"),
    }
    for leads in ("/etc/passwd", "../../secret", "a/../../x"):
        bad = write(tmp_path / "bad", {"f": b"1"})
        (bad / "link").unlink(missing_ok=True)
        (bad / "link").symlink_to(leads)
        with pytest.raises(InputRejected, match="leads out"):
            put(store, "bad", bad)
    assert store.versions.newest("shop", "bad") == 0


def test_names_of_any_bytes_and_any_length_come_back(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    store = local("store")
    folder = tmp_path / "in"
    names = [b"\xff\xfe not utf-8", b"new\nline", b"tab\t", b" ", "Ünïcödé 🐈".encode(), b"-rf", b"a\\b", b"x" * 255]
    for name in names:
        (folder / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
        (folder / os.fsdecode(name)).write_bytes(name)
    here, deep = Path.cwd(), ["d" * 200] * 20  # 4,000 characters, so it is gone down to
    try:
        os.chdir(folder)
        for part in deep:
            Path(part).mkdir()
            os.chdir(part)
        Path("end").write_bytes(b"deep")
    finally:
        os.chdir(here)
    version = put(store, "names", folder).version
    found = {entry.path: entry.size for entry in walk.entries(bytes.fromhex(version.root), store.reader)}
    assert found.keys() == {*names, b"/".join([*(part.encode() for part in deep), b"end"])}
    archive = tmp_path / "out.tar"
    os.environ["CONVEYOR_HOME"] = str(tmp_path / "home")
    try:
        _export(store, archive, tmp_path)
    finally:
        del os.environ["CONVEYOR_HOME"]
    with tarfile.open(archive, errors="surrogateescape") as tar:
        assert {os.fsencode(member.name) for member in tar} == found.keys()
        assert {len(tar.extractfile(member).read()) for member in tar} == set(found.values())  # type: ignore[union-attr]


def _export(store: DataStore, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data").symlink_to(store.backend.url)
    export.export("names", str(archive))


def test_what_is_no_file_is_refused(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    store = local("store")
    folder = write(tmp_path / "in", {"a": b"1"})
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        with pytest.raises(InputRejected, match=r"neither a file nor a link: .*pipe.*sock"):
            put(store, "notes", folder)
    assert store.versions.newest("shop", "notes") == 0


@pytest.mark.parametrize("writes", [1, 1000])
def test_a_file_that_is_being_written_is_not_taken_half(tmp_path: Path, writes: int) -> None:
    """Its writer goes on while it is read; a large file hands over its chunks in the midst of that."""
    place = write(tmp_path, {"growing": b"x" * 3_000_000}) / "growing"
    left = [writes]
    chunks: dict[bytes, bytes] = {}

    def put(digest: bytes, raw: Bytes) -> None:
        chunks[digest] = bytes(raw)
        if left[0]:
            left[0] -= 1
            with place.open("ab") as file:
                file.write(b"y" * 1000)

    stats = scan((Source(b"growing", os.fsencode(place), False),)).stats
    row = (stats[0], stats[1], stats[2], stats[3], stats[4])
    if writes > 1:
        with pytest.raises(Conflict, match="growing is being written to"):
            take(b"growing", os.fsencode(place), row, put)
        return
    kind, digest, now = take(b"growing", os.fsencode(place), row, put)
    assert kind == CUT
    assert now[0] == place.stat().st_size == 3_001_000
    _, pieces = recipe.decode(chunks[digest])
    assert b"".join(chunks[piece.digest] for piece in pieces) == place.read_bytes()


def test_a_tools_own_folders_are_left_out(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    store = local("store")
    folder = write(tmp_path / "in", {"a": b"1", ".git/config": b"x", "sub/.conveyor/data/y": b"y", ".env": b"kept"})
    assert stored(store, put(store, "notes", folder).version) == {"a": b"1", ".env": b"kept"}


@pytest.mark.parametrize(
    "text", ["../up", "a/../b@v1", "", "@v1", "a b", "a@", "a@../x", "a/b/c", ".hidden", "a@v0x/..", "x" * 200, "ä"]
)
def test_names_that_are_no_names_are_refused(text: str) -> None:
    with pytest.raises(InputRejected):
        parse(text)


@pytest.mark.parametrize("tag", ["latest", "v3", "2026-05-01", "a/b", ".."])
def test_tags_that_read_as_something_else_are_refused(tag: str) -> None:
    assert not is_tag(tag)


def test_a_chunk_that_claims_to_be_huge_is_not_expanded(local: Callable[[str], DataStore], tmp_path: Path) -> None:
    """A zip bomb in a pack: what is read is never more than its index says, and that is bounded."""
    import zstandard

    from conveyor.stores.data.compression import expand

    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    for claimed in (1000, 1 << 40):
        with pytest.raises(ConveyorError):
            expand(bomb, claimed)
    assert io.BytesIO(bytes(expand(bomb, 50_000_000))).getbuffer().nbytes == 50_000_000
