"""Trees against plain dictionaries: what is edited is what would have been built, and a diff is what differs."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from conveyor.errors import CorruptObject
from conveyor.stores.data import node as nodes
from conveyor.stores.data import recipe, tree, walk
from conveyor.stores.data.node import Entry

Files = dict[bytes, Entry]


class Memory(dict[bytes, bytes]):
    """Nodes in memory: what a store is to a tree."""

    def get(self, digest: bytes) -> bytes:  # type: ignore[override]
        return self[digest]

    def many(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return {digest: self[digest] for digest in digests}

    def put(self, digest: bytes, raw: bytes) -> None:
        self[digest] = bytes(raw)


def entry(path: bytes, number: int) -> Entry:
    return Entry(path, number, number % 2, number.to_bytes(32, "big"))


def ordered(files: Files) -> list[Entry]:
    return [files[path] for path in sorted(files, key=nodes.order)]


def built(files: Files, memory: Memory) -> tree.Root:
    return tree.build(ordered(files), memory.put)


names = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
some_files = st.dictionaries(paths, st.integers(0, 1000), max_size=60)


@settings(deadline=None, max_examples=150)
@given(before=some_files, after=some_files, many=st.integers(0, 3000))
def test_editing_is_building_anew_and_a_diff_is_what_differs(
    before: dict[bytes, int], after: dict[bytes, int], many: int
) -> None:
    common = {b"many/%06d" % number: entry(b"many/%06d" % number, number) for number in range(many)}
    old = common | {path: entry(path, number) for path, number in before.items()}
    new = common | {path: entry(path, number) for path, number in after.items()}
    changes = {path: new.get(path) for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    memory = Memory()
    first = built(old, memory)
    second = tree.edit(first, changes, memory, memory.put)
    assert second == built(new, Memory())
    assert second.files == len(new)
    assert second.size == sum(each.size for each in new.values())
    assert list(walk.entries(second.digest, memory)) == ordered(new)  # type: ignore[arg-type]
    found = walk.differences(first.digest, second.digest, memory)  # type: ignore[arg-type]
    assert found == [walk.Change(path, old.get(path), new.get(path)) for path in sorted(changes, key=nodes.order)]
    for path in [*list(new)[:10], b"nowhere", b"zzzz/z"]:
        assert walk.find(second.digest, path, memory) == new.get(path)  # type: ignore[arg-type]
        below = [each for each in ordered(new) if each.path == path or each.path.startswith(path + b"/")]
        assert list(walk.under(second.digest, path, memory)) == below  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_a_long_history_of_edits_ends_where_building_would(seed: int) -> None:
    random_ = random.Random(seed)
    memory = Memory()
    files: Files = {}
    root = built(files, memory)
    for _ in range(12):
        changes: dict[bytes, Entry | None] = {}
        for _ in range(random_.choice([1, 5, 300, 3000])):
            path = b"d%d/f%d" % (random_.randrange(9), random_.randrange(4000))
            changes[path] = None if random_.random() < 0.4 else entry(path, random_.randrange(1 << 30))
        changes = {path: to for path, to in changes.items() if to is not None or path in files}
        files = {path: to for path, to in (files | changes).items() if to is not None}
        root = tree.edit(root, changes, memory, memory.put)
        assert root == built(files, Memory())
    assert tree.edit(root, dict.fromkeys(files), memory, memory.put) == built({}, Memory())


def test_a_change_costs_some_nodes_and_not_the_tree() -> None:
    files = {
        path: entry(path, number) for number in range(100_000) if (path := b"part-%03d/%06d" % (number % 100, number))
    }
    memory = Memory()
    root = built(files, memory)
    whole = sum(map(len, memory.values()))
    for path in random.Random(1).sample(sorted(files), 20):
        fresh = Memory()
        tree.edit(root, {path: entry(path, 7)}, memory, fresh.put)
        assert sum(map(len, fresh.values())) < 100_000 < whole / 50


@settings(deadline=None, max_examples=30)
@given(raw=st.binary(max_size=300))
def test_bytes_that_are_no_node_are_told_as_such(raw: bytes) -> None:
    for decode in (
        lambda: nodes.decode_inner(raw) if nodes.level_of(raw) else nodes.decode_leaf(raw),
        lambda: recipe.decode(raw),
    ):
        with pytest.raises(CorruptObject):
            decode()


@pytest.mark.parametrize("size", [0, 1, recipe.LEAST, recipe.WHOLE + 1, 20_000_000])
def test_a_stream_is_cut_as_its_whole_would_be(size: int) -> None:
    data = random.Random(size).randbytes(size)
    at = 0

    def read_into(buffer: memoryview) -> int:
        nonlocal at
        count = min(len(buffer), len(data) - at, 1_000_003)
        buffer[:count] = data[at : at + count]
        at += count
        return count

    cutter = FastCDC(avg_size=recipe.AVERAGE, min_size=recipe.LEAST, max_size=recipe.MOST)
    pieces = [bytes(piece) for piece in recipe.cut(read_into)]
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [chunk.length for chunk in cutter.cut_buf(data)]


def test_a_recipe_of_any_length_reads_back() -> None:
    for count in (1, 2, 300, 20_000):
        memory = Memory()
        pieces = [recipe.Piece(random.Random(number).randbytes(32), number + 1) for number in range(count)]
        root = recipe.write(pieces, memory.put)  # type: ignore[arg-type]
        assert root.size == sum(piece.size for piece in pieces)
        assert list(recipe.read(root.digest, memory)) == pieces  # type: ignore[arg-type]
