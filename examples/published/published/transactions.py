"""The published transactions with their features, day after day."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl

from conveyor.errors import NotFound


def read(data: str, first: str, days: int) -> pl.DataFrame:
    folder = Path(data) / "fdh_transformed"
    start = date.fromisoformat(first)
    files = [folder / f"{start + timedelta(days=n)}.parquet" for n in range(days)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise NotFound(f"{folder} has no {missing[0]}", hint="Name the folder: conveyor run --param data=FOLDER.")
    return pl.concat([pl.read_parquet(file) for file in files]).sort("TRANSACTION_ID")  # a forest draws rows by place
