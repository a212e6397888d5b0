"""One column's sketch: what is known of its values in bounded space, which merges over batches, parts and versions.

Counts are exact. Quantiles are a KLL sketch (Karnin, Lang, Liberty 2016) and the most frequent values a Misra-Gries
summary, both of Apache DataSketches; distinct values are counted by `distinct.py`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import datasketches
import msgspec
import numpy as np
import numpy.typing as npt

from conveyor.sdk.distinct import Distinct, Hashes

ACCURACY = 400
"""The KLL sketch's k: a rank error of 0.7 % with 99 % confidence, in 10 kB at most before it is compressed."""
LISTED = 8
"""The base-2 logarithm of the frequency sketch's size: up to 192 values are counted exactly."""
FORMAT = 1

Numbers = npt.NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Count, mean and squared deviations of finite numbers, merged as Chan, Golub and LeVeque (1979) do."""

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0

    def add(self, count: int, mean: float, deviations: float) -> None:
        if count == 0:
            return
        total, gap = self.count + count, mean - self.mean
        self.deviations += deviations + gap * gap * self.count * count / total
        self.mean += gap * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Of a sample, as Polars and pandas do it; 0 for fewer than two."""
        return math.sqrt(max(0.0, self.deviations) / (self.count - 1)) if self.count > 1 else 0.0


class Sketch:
    """`dtype` is the column's; `quantiles` and `moments` are of its finite numbers (times: microseconds since 1970)."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.rows = self.nulls = self.not_finite = 0
        self.low: float | str | None = None
        self.high: float | str | None = None
        self.moments = Moments()
        self.quantiles = datasketches.kll_doubles_sketch(ACCURACY)
        self.frequent = datasketches.frequent_strings_sketch(LISTED)
        self.distinct = Distinct()

    def count(self, rows: int, nulls: int) -> None:
        self.rows += rows
        self.nulls += nulls

    def bound(self, low: float | str | None, high: float | str | None) -> None:
        """Widens the range. None says nothing; text and numbers do not meet in one column."""
        if low is not None and (self.low is None or low < self.low):  # type: ignore[operator]
            self.low = low
        if high is not None and (self.high is None or high > self.high):  # type: ignore[operator]
            self.high = high

    def measure(self, finite: Numbers) -> None:
        if finite.size:
            mean = float(finite.mean())
            self.moments.add(finite.size, mean, float(np.square(finite - mean).sum()))
            self.quantiles.update(finite)

    def see(self, hashes: Hashes) -> None:
        self.distinct = self.distinct.merge(hashes)

    def tally(self, values: Sequence[str], counts: Sequence[int]) -> None:
        for value, count in zip(values, counts, strict=True):
            self.frequent.update(value, count)

    def merge(self, other: Sketch) -> None:
        """`other` must be of the same column. Ranges of different kinds (a type that changed) keep this one's."""
        self.count(other.rows, other.nulls)
        self.not_finite += other.not_finite
        if self.low is None or isinstance(other.low, str) == isinstance(self.low, str):
            self.bound(other.low, other.high)
        self.moments.add(other.moments.count, other.moments.mean, other.moments.deviations)
        self.quantiles.merge(other.quantiles)
        self.frequent.merge(other.frequent)
        self.see(other.distinct.hashes)

    def top(self, count: int) -> list[tuple[str, int]]:
        """The most frequent values whose count is known within a tenth; exactly, while the column has few values."""
        found = self.frequent.get_frequent_items(datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES)
        known = [(text, lower) for text, _, lower, upper in found if upper - lower <= lower / 10]
        least = 1 if len(found) <= count else 2
        return sorted((item for item in known if item[1] >= least), key=lambda item: (-item[1], item[0]))[:count]


class _Kept(msgspec.Struct, array_like=True):
    dtype: str
    rows: int
    nulls: int
    not_finite: int
    low: float | str | None
    high: float | str | None
    moments: tuple[int, float, float]
    quantiles: bytes
    frequent: bytes
    distinct: bytes


class _File(msgspec.Struct):
    format: int
    columns: dict[str, _Kept]


def to_bytes(sketches: dict[str, Sketch]) -> bytes:
    """Of all columns, as one object of the store. The sketches inside are in DataSketches' own fixed formats."""
    return msgspec.msgpack.encode(_File(FORMAT, {name: _kept(sketch) for name, sketch in sketches.items()}))


def from_bytes(raw: bytes) -> dict[str, Sketch] | None:
    """None for a format that this Conveyor does not know: the caller measures anew."""
    try:
        file = msgspec.msgpack.decode(raw, type=_File)
    except msgspec.DecodeError:
        return None
    return {name: _restored(kept) for name, kept in file.columns.items()} if file.format == FORMAT else None


def _kept(sketch: Sketch) -> _Kept:
    moments = sketch.moments
    return _Kept(
        dtype=sketch.dtype,
        rows=sketch.rows,
        nulls=sketch.nulls,
        not_finite=sketch.not_finite,
        low=sketch.low,
        high=sketch.high,
        moments=(moments.count, moments.mean, moments.deviations),
        quantiles=zlib.compress(sketch.quantiles.serialize()),
        frequent=zlib.compress(sketch.frequent.serialize()),
        distinct=sketch.distinct.to_bytes(),
    )


def _restored(kept: _Kept) -> Sketch:
    made = Sketch(kept.dtype)
    made.rows, made.nulls, made.not_finite = kept.rows, kept.nulls, kept.not_finite
    made.low, made.high, made.moments = kept.low, kept.high, Moments(*kept.moments)
    made.quantiles = datasketches.kll_doubles_sketch.deserialize(zlib.decompress(kept.quantiles))
    made.frequent = datasketches.frequent_strings_sketch.deserialize(zlib.decompress(kept.frequent))
    made.distinct = Distinct.from_bytes(kept.distinct)
    return made
