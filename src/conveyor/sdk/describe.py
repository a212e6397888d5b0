"""Statistics of a dataset's columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.domain.dataset import ColumnProfile, DatasetProfile


def profile_files(paths: Sequence[Path]) -> DatasetProfile:
    """Of all rows of the files together, in one streaming pass."""
    frame = pl.scan_parquet(list(paths), glob=False)
    schema = frame.collect_schema()
    asked = [pl.len().alias("rows")]
    for index, (name, dtype) in enumerate(schema.items()):
        column = pl.col(name)
        asked.append(column.null_count().alias(f"{index}.nulls"))
        if not dtype.is_nested() and dtype not in (pl.Object, pl.Null):
            asked.append(column.approx_n_unique().alias(f"{index}.distinct"))
            asked += [column.min().alias(f"{index}.min"), column.max().alias(f"{index}.max")]
        if dtype.is_numeric():
            asked.append(column.mean().alias(f"{index}.mean"))
    found = frame.select(asked).collect(engine="streaming").row(0, named=True)
    columns = {
        name: ColumnProfile(
            dtype=str(dtype),
            nulls=found[f"{index}.nulls"],
            distinct=found.get(f"{index}.distinct", 0),
            min=_plain(found.get(f"{index}.min")),
            max=_plain(found.get(f"{index}.max")),
            mean=_plain_number(found.get(f"{index}.mean")),
        )
        for index, (name, dtype) in enumerate(schema.items())
    }
    return DatasetProfile(found["rows"], columns)


def _plain(value: Any) -> float | str | None:
    """A number or text: what JSON and a page can show."""
    if value is None:
        return None
    if isinstance(value, bool | int | float | Decimal):
        return _plain_number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta | str) else repr(value)


def _plain_number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and number == number and abs(number) != float("inf") else None
