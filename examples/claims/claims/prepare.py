"""`python -m claims.prepare CLAIMS.parquet FOLDER`: the published claims with an event time, as one Parquet file.

The data say year, month, week of the month and weekday of an accident; the day is made of them, within the month.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def prepare(claims: Path, folder: Path) -> Path:
    rows = pl.read_parquet(claims)
    weekday = rows["DayOfWeek"].replace_strict(list(DAYS), range(7), return_dtype=pl.Int64)
    day = pl.min_horizontal((pl.col("WeekOfMonth") - 1) * 7 + weekday + 1, 28)
    at = (pl.col("accident_month") + "-01").str.to_datetime("%Y-%m-%d") + pl.duration(days=day - 1, hours=12)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "claims.parquet"
    rows.with_columns(at.alias("at")).drop("accident_month", "Year").sort("at", "PolicyNumber").write_parquet(out)
    return out


if __name__ == "__main__":
    print(prepare(Path(sys.argv[1]), Path(sys.argv[2])))
