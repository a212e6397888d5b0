"""The storage seam: memory, local disk and S3 do the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from conveyor.errors import NotFound
from conveyor.stores.data.backend import Backend


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


def test_what_is_not_there_is_told(backend: Backend) -> None:
    for ask in (backend.get, lambda key: backend.ranges(key, [(0, 1)])):
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
