"""The storage seam: memory, local disk and S3 do the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from conveyor.errors import CorruptObject, NotFound
from conveyor.stores.data.backend import Backend, Bytes


def test_what_was_put_is_got_in_whole_and_in_parts(backend: Backend) -> None:
    backend.put("packs/ab/one", [b"head", memoryview(b"-body-"), bytearray(b"tail")])
    assert backend.get("packs/ab/one") == b"head-body-tail"
    parts = backend.ranges("packs/ab/one", [(0, 4), (10, 4), (4, 6), (12, 100), (90, 5)])
    assert [bytes(part) for part in parts] == [b"head", b"tail", b"-body-", b"il", b""]
    assert backend.ranges("packs/ab/one", []) == []
    backend.put("packs/ab/one", [b"other"])
    assert backend.get("packs/ab/one") == b"other"
    item = backend.head("packs/ab/one")
    assert item is not None
    assert (item.key, item.size) == ("packs/ab/one", 5)


def test_a_value_is_taken_over_in_pieces_whole_or_not_at_all(backend: Backend) -> None:
    value = os.urandom((1 << 21) + 7)
    backend.put("packs/ab/one", [value])
    backend.take("packs/ab/two", len(value), backend.pieces("packs/ab/one"))
    assert backend.get("packs/ab/two") == value

    def broken() -> Iterator[Bytes]:
        yield b"some of it"
        raise CorruptObject("not what it should be", hint="")

    for key in ("packs/ab/two", "packs/ab/three"):
        with pytest.raises(CorruptObject):
            backend.take(key, 100, broken())
    assert backend.get("packs/ab/two") == value
    assert {item.key for item in backend.list("packs/")} == {"packs/ab/one", "packs/ab/two"}


def test_what_is_not_there_is_told(backend: Backend) -> None:
    for ask in (backend.get, lambda key: backend.ranges(key, [(0, 1)]), lambda key: list(backend.pieces(key))):
        with pytest.raises(NotFound, match="no/where"):
            ask("no/where")
    assert backend.head("no/where") is None
    assert list(backend.list("no/")) == []
    backend.delete("no/where")


def test_a_folder_is_listed_whole_and_alone(backend: Backend) -> None:
    for key in ("a/1", "a/b/2", "a/b/c/3", "ab/4", "b/5"):
        backend.put(key, [key.encode()])
    assert {(item.key, item.size) for item in backend.list("a/")} == {("a/1", 3), ("a/b/2", 5), ("a/b/c/3", 7)}
    backend.delete("a/b/2")
    assert {item.key for item in backend.list("a/")} == {"a/1", "a/b/c/3"}


def test_of_many_creators_exactly_one_succeeds(backend: Backend) -> None:
    with ThreadPoolExecutor(16) as pool:
        for key in ("versions/x/1", "versions/x/2", "versions/x/3"):
            won = list(pool.map(lambda number, key=key: backend.create(key, str(number).encode()), range(16)))
            assert won.count(True) == 1
            assert backend.get(key) == str(won.index(True)).encode()
