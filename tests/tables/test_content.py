"""Parquet by content: the same rows come back, and rows put in the middle change the groups around them only."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.tables import content


def table(count: int, start: int = 0) -> pl.DataFrame:
    ids = pl.Series("id", range(start, start + count), pl.Int64)
    return pl.DataFrame({"id": ids, "x": (ids.hash(1) % 1_000_003).cast(pl.Float64), "word": (ids % 7).cast(pl.String)})


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), max_size=8), more=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_groups_do_not_depend_on_how_rows_came(sizes: list[int], more: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(content, "GROUP", 64)
        rows = table(sum(sizes))
        pieces, at = [], 0
        for size in sizes:
            pieces.append(rows.slice(at, size))
            at += size
        found = list(content.groups(pieces))
        assert all(group.height <= 4 * 64 for group in found)
        assert all(group.height >= 16 for group in found[:-1])
        assert [each.height for each in found] == [each.height for each in content.groups([rows] if sum(sizes) else [])]
        if found:
            assert pl.concat(found).equals(rows)


def test_an_insert_in_the_middle_leaves_the_rest_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "GROUP", 512)
    rows, new = table(40_000), table(400, 100_000)
    assert content.able()
    assert content.write([rows], rows.schema, tmp_path / "a") == 40_000
    pieces = [rows.head(20_000), new, rows.slice(20_000)]
    assert content.write(pieces, rows.schema, tmp_path / "b") == 40_400
    assert pl.read_parquet(tmp_path / "b").equals(pl.concat(pieces))
    before, after = groups(tmp_path / "a"), groups(tmp_path / "b")
    assert len(before) > 40
    assert len(before - after) <= 3
    content.write([], rows.schema, tmp_path / "none")
    assert pl.read_parquet(tmp_path / "none").schema == rows.schema


def groups(path: Path) -> set[bytes]:
    """The bytes of each row group."""
    raw, found = path.read_bytes(), pq.read_metadata(path)
    spans = set()
    for number in range(found.num_row_groups):
        group = found.row_group(number)
        columns = [group.column(each) for each in range(group.num_columns)]
        start = min(c.dictionary_page_offset or c.data_page_offset for c in columns)
        spans.add(raw[start : start + sum(c.total_compressed_size for c in columns)])
    return spans
