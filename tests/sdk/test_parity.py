"""Feature parity: a feature that was served otherwise than the data give it is found, counted and named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conveyor.domain.parity import ParitySpec, told
from conveyor.domain.step import InputSpec
from conveyor.errors import InputRejected
from conveyor.sdk.parity import compare

START = datetime(2026, 3, 1, tzinfo=UTC)


def spec(folder: Path, served: pl.DataFrame, made: pl.DataFrame) -> ParitySpec:
    made.write_parquet(folder / "made.parquet")
    served[:60].write_parquet(folder / "served-1.parquet")
    served[60:].drop("note").write_parquet(folder / "served-2.parquet")
    files = (str(folder / "served-1.parquet"), str(folder / "served-2.parquet"))
    source = InputSpec("features", (str(folder / "made.parquet"),), time="at", key="order")
    return ParitySpec(source, files, {"amount": "amount", "time": "feature_time", "secret": "secret"})


def test_a_feature_that_was_computed_otherwise_is_named(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    orders = np.arange(100)
    made = pl.DataFrame(
        {
            "order": orders,
            "at": [START + timedelta(minutes=int(n)) for n in orders],
            "amount": random.gamma(2, 30, 100),
            "time": random.random(100),
            "secret": random.random(100),
        }
    )
    served = pl.DataFrame(
        {
            "id": [f"p{n}" for n in orders],
            "key": [str(n) if n != 7 else None for n in orders],
            "time": made["at"],
            "mark": [""] * 99 + ["shadow"],
            "amount": made["amount"].cast(pl.Float32),
            "feature_time": (made["time"] + pl.Series([0.0] * 90 + [0.25] * 10)).cast(pl.Float32),
            "secret": pl.Series([None] * 100, dtype=pl.Float32),  # redacted
            "note": ["x"] * 100,
        }
    )
    report = compare(spec(tmp_path, served, made[:95]))
    assert (report.rows, report.found) == (98, 94)  # one has no key, one was in the shadow; four have no row
    assert report.differing == ("time",)
    odd = report.features["time"]
    assert (odd.compared, odd.differing, round(odd.largest, 4)) == (94, 5, 0.25)
    assert {id_ for id_, _, _ in odd.worst} <= {f"p{n}" for n in range(90, 95)}
    assert report.features["amount"].differing == report.features["secret"].compared == 0
    assert "time: 5 of 94 differ, by 0.25 at most" in "\n".join(told(report))
    honest = compare(spec(tmp_path, served.with_columns(made["time"].cast(pl.Float32).alias("feature_time")), made))
    assert honest.differing == ()
    assert "all 3 features are the same in all of them" in "\n".join(told(honest))
    with pytest.raises(InputRejected, match="has no order"):
        compare(spec(tmp_path, served, made.drop("order")))
