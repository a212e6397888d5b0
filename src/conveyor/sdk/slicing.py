"""Which rows are trained on and which are held out, by event time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from conveyor.domain.dataset import utc
from conveyor.domain.step import InputSpec, Slice, TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import inputs


@dataclass(frozen=True, slots=True)
class Range:
    """Event times in (after, until]."""

    after: datetime
    until: datetime


def cut(spec: TrainSpec, first: datetime) -> tuple[Range, Range]:
    """(training, holdout). `first` is the oldest labelled row's event time: how far back an open window reaches."""
    newest = utc(spec.known_until)
    span = newest - utc(first)
    holdout = Range(newest - (spec.holdout if spec.holdout is not None else span / 5), newest)
    until = holdout.after - spec.gap
    # one microsecond before the first row, which (after, until] would leave out
    after = until - spec.window if spec.window is not None else utc(first) - timedelta(microseconds=1)
    return Range(min(after, until), until), holdout


def labelled(frame: pl.LazyFrame, spec: TrainSpec) -> pl.LazyFrame:
    """Rows whose label is known."""
    return frame.filter(pl.col(spec.label).is_not_null())


def within(frame: pl.LazyFrame, source: InputSpec, range_: Range) -> pl.LazyFrame:
    schema = frame.collect_schema()
    at, unit = inputs.event_time(source, schema), inputs.unit_of(source, schema)
    return frame.filter((at > inputs.moment(range_.after, unit)) & (at <= inputs.moment(range_.until, unit)))


def first_time(frame: pl.LazyFrame, source: InputSpec) -> datetime:
    schema = frame.collect_schema()
    found = frame.select(inputs.event_time(source, schema).min().cast(pl.Datetime("us"))).collect().item()
    if found is None:
        raise InputRejected(
            f"input {source.name} has no row with a known label",
            hint=f"Labels are known up to {source.known_until}: land more data, or wait for labels.",
        )
    return utc(found)


def truth(table: pl.DataFrame, spec: TrainSpec) -> pl.Series:
    """The labels as numbers: 1 where the row is of the positive class, if one is named; else as they are."""
    values = table.get_column(spec.label)
    if spec.positive:
        return (values.cast(pl.String) == spec.positive).cast(pl.Int8)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        raise InputRejected(
            f"label {spec.label} is {values.dtype}, not a number",
            hint='Say which class the score is the probability of: positive = "..." in conveyor.toml.',
        )
    return values


def unlabelled(frame: pl.LazyFrame, source: InputSpec, label: str, over: Range) -> int:
    """Rows of the range whose label has not come, though it is old enough to be known."""
    return int(within(frame, source, over).select(pl.col(label).is_null().sum()).collect().item())


def measure(table: pl.DataFrame, spec: TrainSpec, range_: Range, unlabelled: int = 0) -> Slice:
    values = truth(table, spec)
    positives = int((values == 1).sum()) if values.dtype.is_integer() or values.dtype == pl.Boolean else 0
    return Slice(range_.after, range_.until, table.height, positives, unlabelled)


def refuse_empty(training: Slice, holdout: Slice, classes: int | None) -> None:
    """Too little to train on or to judge by is an error that says which dates were looked at."""
    for name, one in (("training", training), ("holdout", holdout)):
        dates = f"({one.after:%Y-%m-%d %H:%M}, {one.until:%Y-%m-%d %H:%M}]"
        if one.rows == 0:
            raise InputRejected(
                f"no labelled rows in the {name} range {dates}",
                hint="Land more data, or shorten window, gap or holdout in conveyor.toml.",
            )
        if name == "training" and classes is not None and classes < 2:
            raise InputRejected(
                f"the {one.rows} training rows in {dates} all have the same label",
                hint="Land more data or lengthen the window.",
            )
