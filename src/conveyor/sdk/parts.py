"""Parts: the Parquet files that versions of tables are made of, in order of event time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from conveyor.domain.dataset import utc


def save(table: pl.DataFrame, path: Path) -> None:
    """Whole or not at all, with the statistics by which readers skip what they do not need."""
    temporary = path.with_name(f".{path.name}")
    table.write_parquet(temporary, compression="zstd", statistics=True)
    temporary.rename(path)


def ends(table: pl.DataFrame, time: str | None) -> tuple[datetime | None, datetime | None]:
    """First and last event time of rows that are in its order."""
    if time is None or table.is_empty():
        return None, None
    column = table[time]
    as_time = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column.dt.cast_time_unit("us")
    return utc(as_time[0]), utc(as_time[-1])
