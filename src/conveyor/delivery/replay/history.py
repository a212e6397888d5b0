"""All rows of a model's input in order of event time, made once, and the ticks in which they arrive."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from blake3 import blake3

from conveyor.domain.step import InputSpec
from conveyor.errors import InputRejected
from conveyor.sdk import inputs, table

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tick:
    """Event times in (after, until]; rows from `start` up to `stop`. `newest` is the newest event time so far."""

    number: int
    after: datetime
    until: datetime
    start: int
    stop: int
    newest: datetime


class History:
    """`path` is a Parquet file of the rows, sorted. Ticks begin at `start`, or with the day of the first row.

    Labels are all there: who trains masks those that are not known.
    """

    def __init__(self, path: Path, source: InputSpec, positive: str, tick: timedelta, start: datetime | None) -> None:
        self.path = path
        self.frame = pl.read_parquet(path)
        self._source = source
        assert source.time is not None
        assert source.label is not None
        moments = self.frame.select(inputs.event_time(source, self.frame.schema).cast(pl.Datetime("us")))
        self.times: npt.NDArray[np.int64] = moments.to_series().dt.timestamp("us").to_numpy()
        label = self.frame[source.label]
        if positive:
            label = label.cast(pl.String) == positive
        self.labels: Floats = label.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        self.ticks = tuple(self._cut(tick, start or moment(int(self.times[0]) // _DAY * _DAY) - _MICROSECOND))
        self._matrices: dict[tuple[str, ...], Matrix] = {}

    @property
    def first(self) -> datetime:
        return moment(int(self.times[0]))

    def rows_until(self, until: datetime) -> int:
        """How many rows have an event time up to then, those without a label at all left out."""
        return int(self._labelled[int(np.searchsorted(self.times, micros(until), side="right"))])

    def place(self, at: datetime) -> int:
        """The first row that is later."""
        return int(np.searchsorted(self.times, micros(at), side="right"))

    def matrix(self, features: tuple[str, ...]) -> Matrix:
        if features not in self._matrices:
            self._matrices[features] = table.matrix(self.frame, features)
        return self._matrices[features]

    def content(self, after: datetime | None, until: datetime) -> str:
        """Digest of the ticks that hold rows of (after, until]: what a training in that range can have read."""
        ends = [tick.until for tick in self.ticks]
        first = 0 if after is None else bisect_right(ends, after)
        last = min(bisect_right(ends, until), len(ends) - 1)
        return blake3("".join(self._digests[first : last + 1]).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        return blake3("".join(self._digests).encode()).hexdigest()

    @cached_property
    def _digests(self) -> list[str]:
        found = []
        for tick in self.ticks:
            rows = self.frame.slice(tick.start, tick.stop - tick.start).rechunk().write_ipc(None, compression="zstd")
            found.append(blake3(rows.getbuffer()).hexdigest())
        return found

    @cached_property
    def _labelled(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.isfinite(self.labels))])

    def _cut(self, tick: timedelta, start: datetime) -> Iterator[Tick]:
        after, stop, number = start, int(np.searchsorted(self.times, micros(start), side="right")), 0
        while stop < len(self.times):
            until = after + tick
            begin, stop = stop, int(np.searchsorted(self.times, micros(until), side="right"))
            newest = moment(int(self.times[stop - 1])) if stop else start
            yield Tick(number, after, until, begin, stop, newest)
            after, number = until, number + 1


def micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def sorted_rows(path: Path, source: InputSpec, out: Path, since: datetime | None, until: datetime | None) -> None:
    """The rows of a step's output, or of a dataset, by event time; those without one cannot be played."""
    rows = pl.scan_parquet(path)
    schema = rows.collect_schema()
    for column in (source.label, source.time):
        if column not in schema:
            raise InputRejected(
                f"{source.name} lacks the column {column}; it has {', '.join(schema.names())}",
                hint="A model's first input must keep the label and the event time of its dataset.",
            )
    at, unit = inputs.event_time(source, schema), inputs.unit_of(source, schema)
    rows = rows.filter(at.is_not_null())
    if since is not None:
        rows = rows.filter(at >= inputs.moment(since, unit))
    if until is not None:
        rows = rows.filter(at < inputs.moment(until, unit))
    found = rows.sort(at, maintain_order=True).collect()
    if found.is_empty():
        raise InputRejected(f"{source.name} has no rows in that time", hint="Look at --from and --to.")
    temporary = out.with_name(f".{out.name}")
    found.write_parquet(temporary, compression="zstd", statistics=True)
    temporary.rename(out)
