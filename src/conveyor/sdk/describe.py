"""A table's columns, measured in one streaming pass: memory is that of some batches, whatever the size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from conveyor.domain.dataset import QUANTILES, ColumnProfile, DatasetProfile
from conveyor.sdk import distinct
from conveyor.sdk.sketch import Sketch

BATCH = 131_072  # rows measured at once
_LISTED = 1024  # values of a batch, the most frequent ones, that are counted into the frequency sketch
_TEXT = 100  # characters of a text that are told; values that begin alike count as one
_TOP = 10
_THREADS = 2


def measure(paths: Sequence[Path]) -> dict[str, Sketch]:
    """Sketches of all columns of the Parquet files together; while one batch is measured the next one is read."""
    sketches: dict[str, Sketch] = {}
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_THREADS) as workers:
        ahead = _batches(paths)
        coming = reader.submit(next, ahead, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, ahead, None)
            for column in batch:
                if column.name not in sketches:
                    sketches[column.name] = Sketch(str(column.dtype))
            # One column is one thread's at a time: numpy and Polars let another one work meanwhile. Texts take longest.
            columns = sorted(batch.get_columns(), key=lambda column: column.dtype != pl.String)
            list(workers.map(lambda column: add(sketches[column.name], column), columns))
    return sketches


def _batches(paths: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """Small files together, large ones by slices, which hold little in memory; Polars' own iterator of batches reads
    ahead by several hundred MB."""
    group: list[Path] = []
    held = 0
    for path in paths:
        frame = pl.scan_parquet(path, glob=False)
        rows = int(frame.select(pl.len()).collect().item())
        if rows > BATCH // 2:
            yield from (frame.slice(start, BATCH).collect() for start in range(0, rows, BATCH))
            continue
        if held + rows > BATCH:
            yield pl.scan_parquet(group, glob=False).collect()
            group, held = [], 0
        group.append(path)
        held += rows
    if group:
        yield pl.scan_parquet(group, glob=False).collect()


def merged(sketches: Iterable[Mapping[str, Sketch]]) -> dict[str, Sketch]:
    """Of all parts together; the first ones are taken over and grow. A column that a part lacks is null there."""
    whole: dict[str, Sketch] = {}
    rows = 0
    for part in sketches:
        part_rows = max((sketch.rows for sketch in part.values()), default=0)
        for name, sketch in part.items():
            if name in whole:
                whole[name].merge(sketch)
            else:
                whole[name] = sketch
                sketch.count(rows, rows)
        for name in whole.keys() - part.keys():
            whole[name].count(part_rows, part_rows)
        rows += part_rows
    return whole


def profile(sketches: Mapping[str, Sketch]) -> DatasetProfile:
    """What people and records are told of the sketches."""
    columns = {name: _column(sketch) for name, sketch in sketches.items()}
    return DatasetProfile(max((sketch.rows for sketch in sketches.values()), default=0), columns)


def add(sketch: Sketch, column: pl.Series) -> None:
    """Counts one batch of a column in."""
    dtype, nulls = column.dtype, column.null_count()
    sketch.count(len(column), nulls)
    if nulls == len(column) or dtype.is_nested() or dtype in (pl.Object, pl.Null):
        return
    if nulls:
        column = column.drop_nulls()
    if dtype.is_numeric() or dtype == pl.Boolean:
        _numbers(sketch, column)
    elif dtype.is_temporal():
        micro = _microseconds(column)
        sketch.bound(_plain(column.min()), _plain(column.max()))
        sketch.measure(np.sort(micro).astype(np.float64))
        sketch.see(distinct.of_numbers(micro))
    else:
        _texts(sketch, column.cast(pl.String, strict=False) if dtype != pl.Binary else column.bin.encode("hex"))


def _numbers(sketch: Sketch, column: pl.Series) -> None:
    exact = column.cast(pl.Float64) if isinstance(column.dtype, pl.Decimal | pl.Boolean) else column
    values = exact.to_numpy()
    if values.dtype.kind == "f":
        known = np.isfinite(values)
        if not known.all():
            sketch.not_finite += int(values.size - known.sum())
            sketch.see(distinct.of_numbers(np.unique(values[~known])))
            values = values[known]
    if values.size == 0:
        return
    # Sorted once: the range, the different values and how often each occurs are then read off, and a KLL sketch takes
    # sorted values four times as fast. Polars sorts while another thread works.
    ordered = pl.Series(values).sort().to_numpy(writable=True)
    sketch.bound(float(ordered[0]), float(ordered[-1]))
    sketch.measure(ordered.astype(np.float64, copy=False))
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
    different = ordered[starts]
    sketch.see(distinct.of_numbers(different))
    counted = pl.DataFrame({"value": different, "times": np.append(starts[1:], ordered.size) - starts})
    value = pl.col("value")
    _list(sketch, counted, value.cast(pl.Boolean) if column.dtype == pl.Boolean else value)


def _texts(sketch: Sketch, column: pl.Series) -> None:
    sketch.bound(_short(column.min()), _short(column.max()))
    counted = column.alias("value").value_counts(name="times")
    sketch.see(distinct.of_texts(counted["value"].to_list()))
    _list(sketch, counted, pl.col("value").str.slice(0, _TEXT))


def _list(sketch: Sketch, counted: pl.DataFrame, texts: pl.Expr) -> None:
    """Counts the most frequent values in; those of which there is one are no news where there are many others."""
    if counted.height > _LISTED:
        counted = counted.filter(pl.col("times") > 1).top_k(_LISTED, by="times")
    listed = counted.select(texts.cast(pl.String), "times")
    sketch.tally(listed["value"].to_list(), listed["times"].to_list())


def _microseconds(column: pl.Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Since 1970; of a time of day since midnight, of a duration its length."""
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    physical = column.to_physical().cast(pl.Int64).to_numpy()
    unit = getattr(column.dtype, "time_unit", "ns" if column.dtype == pl.Time else "us")
    return physical * 1000 if unit == "ms" else physical // 1000 if unit == "ns" else physical


def _column(sketch: Sketch) -> ColumnProfile:
    some = sketch.moments.count > 0
    dtype = sketch.dtype
    times = dtype.startswith(("Date", "Time", "Duration"))
    at = sketch.quantiles.get_quantiles(list(QUANTILES)) if some else []
    return ColumnProfile(
        dtype=dtype,
        nulls=sketch.nulls,
        distinct=sketch.distinct.estimate,
        min=sketch.low,
        max=sketch.high,
        mean=sketch.moments.mean if some and not times else None,
        std=sketch.moments.std if some and not times else None,
        quantiles=tuple(_moment(dtype, float(value)) if times else float(value) for value in at),
        top=tuple(sketch.top(_TOP)),
        not_finite=sketch.not_finite,
    )


def _moment(dtype: str, micro: float) -> str:
    """A quantile of times as text, in the form of `min` and `max`."""
    if dtype.startswith("Duration"):
        return str(timedelta(microseconds=micro))
    at = datetime(1970, 1, 1) + timedelta(microseconds=micro)
    if dtype.startswith("Time"):
        return at.time().isoformat()
    if dtype == "Date":
        return at.date().isoformat()
    return (at.replace(tzinfo=UTC) if "time_zone='" in dtype else at).isoformat()


def _plain(value: Any) -> float | str | None:
    """A number or text: what JSON and a page can show."""
    if value is None:
        return None
    if isinstance(value, bool | int | float | Decimal):
        return float(value)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta | str) else repr(value)


def _short(value: Any) -> str | None:
    return None if value is None else str(value)[:_TEXT]
