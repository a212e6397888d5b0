"""Profiles against numpy and Polars, merged over parts cut anywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.dataset import QUANTILES, ColumnProfile, DatasetProfile, DatasetVersion
from conveyor.sdk import describe, sketch
from conveyor.sdk.distinct import KEPT, Distinct, of_numbers, of_texts

ROWS = 60_000
SHAPES: dict[str, Any] = {
    "normal": lambda random: random.normal(50, 10, ROWS),
    "skewed": lambda random: random.lognormal(3, 2, ROWS),
    "tied": lambda random: random.integers(0, 7, ROWS).astype(float),
    "mostly zero": lambda random: np.where(random.random(ROWS) < 0.6, 0.0, random.random(ROWS)),
    "sorted": lambda random: np.sort(random.normal(size=ROWS)),
}


def measured(folder: Path, *parts: pl.DataFrame) -> DatasetProfile:
    """Each part sketched apart, kept as bytes, and merged."""
    kept = []
    for number, part in enumerate(parts):
        path = folder / f"{number}.parquet"
        part.write_parquet(path)
        restored = sketch.from_bytes(sketch.to_bytes(describe.measure([path])))
        assert restored is not None
        kept.append(restored)
    return describe.profile(describe.merged(kept))


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_are_within_one_percent_of_rank_and_counts_are_exact(tmp_path: Path, shape: str) -> None:
    random = np.random.default_rng(3)
    values = SHAPES[shape](random)
    values[::1000] = np.nan
    values[1] = np.inf
    column = pl.Series("x", values).set(pl.Series(np.arange(ROWS) % 100 == 5), None)
    table = column.to_frame()
    profile = measured(tmp_path, table[:100], table[100:40_000], table[40_000:])
    found = profile.columns["x"]
    assert (profile.rows, found.nulls, found.not_finite) == (ROWS, ROWS // 100, 61)
    finite = column.drop_nulls().to_numpy()
    finite = np.sort(finite[np.isfinite(finite)])
    assert (found.min, found.max) == (finite[0], finite[-1])
    assert found.mean == pytest.approx(finite.mean())
    assert found.std == pytest.approx(finite.std(ddof=1))
    for share, value in zip(QUANTILES, found.quantiles, strict=True):
        low, high = (np.searchsorted(finite, value, side) / finite.size for side in ("left", "right"))
        assert low - 0.01 <= share <= high + 0.01, (share, value)
    distinct = len(np.unique(finite)) + 2
    assert found.distinct == distinct if distinct < KEPT else abs(found.distinct / distinct - 1) < 0.13


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=600), st.lists(st.integers(0, 300), max_size=600))
def test_a_column_of_few_values_is_counted_exactly_however_it_is_cut(first: list[int], second: list[int]) -> None:
    whole = sketch.Sketch("Int64")
    for part in (first, second):
        made = sketch.Sketch("Int64")
        describe.add(made, pl.Series("x", part, pl.Int64))
        whole.merge(made)
    values = first + second
    assert (whole.rows, whole.distinct.estimate) == (len(values), len(set(values)))
    assert whole.moments.std == pytest.approx(np.std(values, ddof=1) if len(values) > 1 else 0.0)
    exact = len(set(values)) <= 100
    for text, count in whole.top(10):
        assert count == values.count(int(text)) if exact else count <= values.count(int(text))


@given(st.integers(0, 40_000), st.integers(0, 40_000))
@settings(max_examples=20, deadline=None)
def test_distinct_values_that_two_parts_share_are_counted_once(first: int, second: int) -> None:
    for hashes in (lambda a, b: of_numbers(np.arange(a, b)), lambda a, b: of_texts(str(n) for n in range(a, b))):
        kept = Distinct.from_bytes(Distinct().merge(hashes(0, first)).to_bytes())
        found = kept.merge(hashes(first // 2, first // 2 + second)).estimate
        true = max(first, first // 2 + second) if second else first
        assert found == true if true < KEPT else abs(found / true - 1) < 0.15


def test_heavy_values_among_many_are_listed_and_chance_repeats_are_not(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    many = pl.Series(random.permutation(400_000)).cast(pl.String)
    picked = random.random(400_000) < 0.05
    table = pl.DataFrame({"user": many.set(pl.Series(picked), "house")})
    found = measured(tmp_path, table[:150_000], table[150_000:]).columns["user"]
    assert [name for name, _ in found.top] == ["house"]
    assert found.top[0][1] == pytest.approx(picked.sum(), rel=0.1)
    assert found.top[0][1] <= picked.sum()


def test_every_type_has_a_profile(tmp_path: Path) -> None:
    at = datetime(2018, 4, 1, 12, tzinfo=UTC)
    table = pl.DataFrame(
        {
            "at": [at, at + timedelta(days=2), None],
            "day": [date(2018, 4, 1), date(2018, 4, 3), None],
            "clock": [time(12), time(14, 30), None],
            "took": [timedelta(hours=1), timedelta(hours=3), None],
            "price": [Decimal("1.50"), Decimal("2.50"), None],
            "flag": [True, False, None],
            "name": ["b", "a" * 500, None],
            "raw": [b"\x00\xff", b"\x01", None],
            "list": [[1], [2], None],
            "nothing": pl.Series([None, None, None], dtype=pl.Null),
            "kind": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "nanos": pl.Series([at, at + timedelta(days=2), None], dtype=pl.Datetime("ns", "UTC")),
            "big": pl.Series([2**64 - 1, 1, None], dtype=pl.UInt64),
            "small": pl.Series([1, 2, None], dtype=pl.Int8),
            "single": pl.Series([0.5, 1.5, None], dtype=pl.Float32),
        }
    )
    found = measured(tmp_path, table, table).columns
    assert {name: column.nulls for name, column in found.items()} == {
        name: 6 if name == "nothing" else 2 for name in table.columns
    }
    assert {column.distinct for name, column in found.items() if name not in ("list", "nothing")} == {2}
    ranges = {name: (column.min, column.max, column.quantiles[:1]) for name, column in found.items()}
    both = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    assert describe.profile(describe.measure(both)).columns == found
    assert ranges["at"] == ("2018-04-01T12:00:00+00:00", "2018-04-03T12:00:00+00:00", ("2018-04-01T12:00:00+00:00",))
    assert ranges["nanos"] == ranges["at"]
    assert ranges["day"] == ("2018-04-01", "2018-04-03", ("2018-04-01",))
    assert ranges["clock"] == ("12:00:00", "14:30:00", ("12:00:00",))
    assert ranges["took"] == ("1:00:00", "3:00:00", ("1:00:00",))
    assert ranges["price"] == (1.5, 2.5, (1.5,))
    assert ranges["name"] == ("a" * 100, "b", ())
    assert ranges["big"] == (1.0, float(2**64 - 1), (1.0,))
    assert dict(found["flag"].top) == {"true": 2, "false": 2}
    assert dict(found["kind"].top) == {"x": 2, "y": 2}
    assert dict(found["raw"].top) == {"00ff": 2, "01": 2}


def test_a_profile_of_an_earlier_conveyor_is_still_read() -> None:
    kept = (
        b'{"project":"shop","name":"payments","version":1,"parent":null,"manifest":"m","rows":5,"bytes":9,"schema":{},'
        b'"created":"2026-03-02T09:30:00Z","profile":{"rows":5,"columns":{"x":{"dtype":"Float64","nulls":1,'
        b'"distinct":4,"min":0.0,"max":4.0,"mean":2.0}}}}'
    )
    version = wire.from_json(kept, DatasetVersion)
    assert version.profile is not None
    assert version.profile.sketches == ""
    assert version.profile.columns["x"] == ColumnProfile("Float64", 1, 4, 0.0, 4.0, 2.0)
    assert sketch.from_bytes(b"something else") is None
