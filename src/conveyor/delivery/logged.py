"""Rows of the holdout with what the trained model itself gave for them: its server must give the same."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from conveyor.domain.step import LoggedScore

_MOST = 200
_NATIVE = "__native__"


def logged_scores(holdout: Path, features: tuple[str, ...]) -> tuple[LoggedScore, ...]:
    """At most so many, evenly over the scores from the lowest to the highest. Rows with a gap are left out: a request
    in JSON has no NaN."""
    whole = pl.scan_parquet(holdout).select(*features, _NATIVE).filter(pl.all_horizontal(pl.all().is_finite()))
    order = whole.select(_NATIVE).with_row_index().collect().sort(_NATIVE, maintain_order=True)["index"]
    count = min(_MOST, len(order))
    chosen = [order[round(at * (len(order) - 1) / max(1, count - 1))] for at in range(count)]
    rows = whole.with_row_index().filter(pl.col("index").is_in(chosen)).drop("index").collect(engine="streaming")
    return tuple(LoggedScore(row[:-1], row[-1]) for row in rows.iter_rows())
