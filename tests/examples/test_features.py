"""The example's features against the published ones, and the rule that no label is read before it is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

START = datetime(2018, 4, 1)
DELAY = timedelta(days=7)

_row = st.tuples(
    st.integers(0, 60 * 24 * 60).map(lambda minute: START + timedelta(minutes=minute)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 30000).map(lambda cents: cents / 100),
    st.sampled_from([0, 1, None]),
)


@pytest.fixture(scope="session")
def features(shop: Path) -> ModuleType:
    from shop import features

    return features


def _table(rows: list[tuple[datetime, int, int, float, int | None]]) -> pl.DataFrame:
    schema = {
        "TX_DATETIME": pl.Datetime("ns"),
        "CUSTOMER_ID": pl.Int32,
        "TERMINAL_ID": pl.Int32,
        "TX_AMOUNT": pl.Float64,
        "TX_FRAUD": pl.Int8,
    }
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .with_row_index("TRANSACTION_ID")
        .with_columns(pl.col("TRANSACTION_ID").cast(pl.Int32))
    )


def test_recomputed_features_equal_the_published_ones(published: Path, features: ModuleType) -> None:
    """Windows reach 37 days back, so history from 2018-05-01 is whole from 2018-06-07 on."""
    days = [
        path for path in sorted((published / "fdh_raw").glob("*.parquet")) if "2018-05-01" <= path.stem <= "2018-06-17"
    ]
    expected = pl.concat(
        [pl.read_parquet(published / "fdh_transformed" / f"2018-06-{day}.parquet") for day in range(11, 18)]
    )
    found = features.build(pl.scan_parquet(days)).collect()
    both = expected.join(found, on="TRANSACTION_ID", suffix="_found")
    same = pl.all_horizontal(
        (pl.col(name).cast(pl.Float64) - pl.col(f"{name}_found")).abs() < 1e-6 for name in features.FEATURES
    )
    assert both.height == expected.height > 60_000
    # Two transactions of one customer in one second have no order: 20 rows in 1.75 million.
    assert both.filter(~same).height <= 5


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(_row, min_size=1, max_size=60),
    moment=st.integers(0, 60 * 24 * 60),
    flips=st.randoms(use_true_random=False),
)
def test_no_label_is_read_before_it_is_known(features: ModuleType, rows: list, moment: int, flips) -> None:  # type: ignore[no-untyped-def,type-arg]
    """Whatever the labels after t - 7 days say, and whatever happens after t, the features at t stay as they are."""
    at = START + timedelta(minutes=moment)
    table = _table(rows)
    changed = [flips.choice([0, 1, None]) if time > at - DELAY else label for time, _, _, _, label in rows]
    other = table.with_columns(pl.Series("TX_FRAUD", changed, dtype=pl.Int8)).filter(pl.col("TX_DATETIME") <= at)
    columns = ["TRANSACTION_ID", *features.FEATURES]
    until = [
        frame.filter(pl.col("TX_DATETIME") <= at).select(columns)
        for frame in (_built(features, table), _built(features, other))
    ]
    assert until[0].equals(until[1])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(_row, min_size=1, max_size=60), data=st.data())
def test_one_payment_and_a_batch_are_the_same(features: ModuleType, rows: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    table = _table(rows)
    payment = table.row(data.draw(st.integers(0, table.height - 1)), named=True)
    mine = pl.col("TRANSACTION_ID") == payment["TRANSACTION_ID"]
    near = (pl.col("CUSTOMER_ID") == payment["CUSTOMER_ID"]) | (pl.col("TERMINAL_ID") == payment["TERMINAL_ID"])
    reach = pl.col("TX_DATETIME").is_between(
        features.since(payment["TX_DATETIME"]), payment["TX_DATETIME"], closed="right"
    )
    expected = _built(features, table).filter(mine).select(features.FEATURES).row(0, named=True)
    assert features.online(table.filter(near & reach & ~mine), payment) == expected


def _built(features: ModuleType, table: pl.DataFrame) -> pl.DataFrame:
    built: pl.DataFrame = features.build(table.lazy()).collect()
    return built
