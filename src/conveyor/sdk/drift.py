"""Drift between two tables, a column at a time: against a profile of constant size, or exactly, of all rows of both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from conveyor.domain import wire
from conveyor.domain.drift import Distances, FeatureProfile, TableProfile, TextProfile
from conveyor.domain.drift_report import FALSE_ALARMS, LIMIT, ColumnDrift, DriftReport, judged
from conveyor.domain.measures import histograms, samples
from conveyor.domain.measures.against import against
from conveyor.domain.measures.profile import profile as number_profile
from conveyor.domain.measures.tails import chi_square_tail
from conveyor.errors import InputRejected
from conveyor.sdk.together import together

VALUES = 100  # of a text that are counted each; all others are counted together
_MOST = 100_000
_SMALL = 1_000_000  # rows times columns
_THREADS = 2

Numbers = npt.NDArray[Any]


class Scanned(Protocol):
    def scan(self) -> pl.LazyFrame: ...


Source = pl.DataFrame | pl.LazyFrame | str | Path | Scanned


def profile(reference: Source) -> TableProfile:
    """What `drift` compares with, of constant size; `save` and `load` keep it."""
    frame = _frame(reference)
    kinds = _kinds(frame)
    found = _each(lambda name: _profiled(frame, name, kinds[name]), list(kinds))
    numbers = {name: each for name, each in zip(kinds, found, strict=True) if isinstance(each, FeatureProfile)}
    texts = {name: each for name, each in zip(kinds, found, strict=True) if isinstance(each, TextProfile)}
    return TableProfile(_rows(frame), numbers, texts)


def save(made: TableProfile, path: str | Path) -> None:
    Path(path).write_bytes(wire.to_json(made))


def load(path: str | Path) -> TableProfile:
    return wire.from_json(Path(path).read_bytes(), TableProfile)


def drift(
    reference: Source | TableProfile,
    current: Source,
    *,
    exact: bool = False,
    jointly: bool = False,
    limit: float = LIMIT,
    false_alarms: float = FALSE_ALARMS,
) -> DriftReport:
    """How far each column of `current` is from `reference`. Columns of times and of nested values are left out.

    `exact` and `jointly` need rows on both sides: Kolmogorov-Smirnov and Wasserstein are then of all of them, and
    `together` asks a classifier to tell samples of both apart by all their numbers.
    """
    if isinstance(reference, TableProfile) and (exact or jointly):
        asked = "exact drift" if exact else "drift of columns together"
        raise InputRejected(f"{asked} was asked for of a profile", hint="Give the rows of the reference instead.")
    made = reference if isinstance(reference, TableProfile) else None if exact else profile(reference)
    after = _frame(current)
    before = None if isinstance(reference, TableProfile) else _frame(reference)
    kinds = _kinds(after)
    if made is not None:
        known = dict.fromkeys(made.numbers, "number") | dict.fromkeys(made.texts, "text")
    else:
        assert before is not None
        known = _kinds(before)
    names = [name for name in kinds if known.get(name) == kinds[name]]

    def compared(name: str) -> ColumnDrift:
        then = made.numbers.get(name) or made.texts.get(name) if made is not None else None
        if kinds[name] == "text":
            old = then if isinstance(then, TextProfile) else _text_profile(before, name, VALUES)
            return _text(name, old, after)
        ordered, nulls = _ordered(after, name, exact)
        if isinstance(then, FeatureProfile):
            return _against(name, then, ordered, nulls)
        return _exactly(name, *_ordered(before, name, exact), ordered, nulls)

    columns = _each(compared, names)
    rows = made.rows if made is not None else _rows(before)
    new = tuple(name for name in kinds if name not in names)
    gone = tuple(name for name in known if name not in names)
    found = judged(columns, limit, false_alarms)
    numbers = [name for name in names if kinds[name] == "number"]
    joint = together(before, after, numbers) if jointly and before is not None else None
    return DriftReport(_rows(after), rows, exact, limit, false_alarms, found, gone, new, joint)


def _against(name: str, reference: FeatureProfile, ordered: Numbers, nulls: int) -> ColumnDrift:
    ends = np.searchsorted(ordered, np.asarray(reference.grid, dtype=np.float32), side="right")
    counts = np.diff(np.concatenate([[0], ends, [ordered.size]])).tolist()
    low, high = (float(ordered[0]), float(ordered[-1])) if ordered.size else (None, None)
    found = against(reference, counts, nulls, low, high)
    mean = float(ordered.mean(dtype=np.float64)) if ordered.size else 0.0
    return _column(name, found, (nulls, ordered.size), reference, mean)


def _exactly(name: str, before: Numbers, nulls_before: int, after: Numbers, nulls: int) -> ColumnDrift:
    """PSI, Jensen-Shannon and chi-square are of the reference's deciles and the nulls."""
    reference = _bins_of(before, nulls_before) if before.size else FeatureProfile((), (0,), nulls_before)
    ends = np.searchsorted(after, np.asarray(reference.edges, dtype=before.dtype), side="right")
    counts = [*np.diff(np.concatenate([[0], ends, [after.size]])).tolist(), nulls]
    old = [*reference.counts, nulls_before]
    statistic, degrees = histograms.chi_square(old, counts)
    std = reference.std
    found = Distances(
        psi=histograms.psi(old, counts),
        jensen_shannon=histograms.jensen_shannon(old, counts),
        ks=samples.ks(before, after),
        wasserstein=samples.wasserstein(before, after) / (std or 1.0),
        chi_square=statistic,
        degrees=degrees,
        p_value=chi_square_tail(statistic, degrees),
        outside=_outside(after, reference.min, reference.max),
    )
    mean = float(after.mean(dtype=np.float64)) if after.size else 0.0
    return _column(name, found, (nulls, after.size), reference, mean)


def _bins_of(ordered: Numbers, nulls: int) -> FeatureProfile:
    """Deciles of sorted values, in their own precision; a value that holds several has a bin of its own."""
    places = np.ceil(np.arange(1, 10) * ordered.size / 10 - 1e-9).astype(np.int64) - 1
    distinct, times = np.unique(ordered[np.maximum(places, 0)], return_counts=True)
    edges = np.unique(np.concatenate([distinct, np.nextafter(distinct[times > 1], -np.inf)]))
    ends = np.searchsorted(ordered, edges, side="right")
    counts = np.diff(np.concatenate([[0], ends, [ordered.size]])).tolist()
    low, high = float(ordered[0]), float(ordered[-1])
    mean, std = float(ordered.mean(dtype=np.float64)), float(ordered.std(dtype=np.float64))
    return FeatureProfile(tuple(edges.tolist()), tuple(counts), nulls, mean, std, low, high)


def _outside(ordered: Numbers, low: float, high: float) -> float:
    inside = np.searchsorted(ordered, high, side="right") - np.searchsorted(ordered, low, side="left")
    return 1.0 - float(inside) / ordered.size if ordered.size else 0.0


def _text(name: str, reference: TextProfile, frame: pl.LazyFrame) -> ColumnDrift:
    current = _text_profile(frame, name, _MOST)
    names = list(reference.counts)
    if not reference.others:
        names += [value for value in current.counts if value not in reference.counts]
    listed = [current.counts.get(value, 0) for value in names]
    others = sum(current.counts.values()) + current.others - sum(listed)
    old = [*(reference.counts.get(value, 0) for value in names), reference.others, reference.nulls]
    now = [*listed, others, current.nulls]
    statistic, degrees = histograms.chi_square(old, now)
    unknown = sum(rows for value, rows in current.counts.items() if value not in reference.counts)
    found = Distances(
        psi=histograms.psi(old, now),
        jensen_shannon=histograms.jensen_shannon(old, now),
        chi_square=statistic,
        degrees=degrees,
        p_value=chi_square_tail(statistic, degrees),
        new=0.0 if reference.others else unknown / max(1, current.rows - current.nulls),
    )
    return _column(name, found, (current.nulls, current.rows - current.nulls), reference)


def _column(
    name: str,
    found: Distances,
    rows: tuple[int, int],
    reference: FeatureProfile | TextProfile,
    mean: float | None = None,
) -> ColumnDrift:
    """`rows`: nulls and values of the current table."""
    shares = rows[0] / max(1, sum(rows)), reference.nulls / max(1, reference.rows)
    p = 1.0 if found.p_value is None else found.p_value
    if isinstance(reference, TextProfile):
        return ColumnDrift(name, "text", found, p, *shares)
    return ColumnDrift(name, "number", found, p, *shares, mean, reference.mean, reference.std)


def _profiled(frame: pl.LazyFrame, name: str, kind: str) -> FeatureProfile | TextProfile:
    if kind == "text":
        return _text_profile(frame, name, VALUES)
    values = _values(frame, name).cast(pl.Float32, strict=False)
    return number_profile(values.fill_null(float("nan")).to_numpy(), blocks=())


def _text_profile(frame: pl.LazyFrame | None, name: str, most: int) -> TextProfile:
    assert frame is not None
    column = _values(frame, name)
    texts = column.drop_nulls().cast(pl.String).alias("value")
    counted = texts.value_counts(name="rows", sort=True).head(most)
    counts = dict(zip(counted["value"].to_list(), counted["rows"].to_list(), strict=True))
    return TextProfile(counts, len(texts) - sum(counts.values()), column.null_count())


def _ordered(frame: pl.LazyFrame | None, name: str, exact: bool) -> tuple[Numbers, int]:
    """The finite values, sorted, and how many are not; in single precision, as profiles are, unless it is `exact`."""
    assert frame is not None
    column = _values(frame, name)
    rows = len(column)
    values = column.drop_nulls().cast(pl.Float64 if exact else pl.Float32, strict=False).to_numpy()
    finite = np.isfinite(values)
    values = values if finite.all() else values[finite]
    # By Polars, in half the time that NumPy takes for double precision; on one thread, for other columns have the rest.
    return pl.Series(values).sort(multithreaded=False).to_numpy(), rows - values.size


def _values(frame: pl.LazyFrame, name: str) -> pl.Series:
    return frame.select(name).collect().get_column(name)


def _each(work: Callable[[str], Any], names: list[str]) -> list[Any]:
    """NumPy and Polars let another thread work while they do."""
    with ThreadPoolExecutor(_THREADS) as workers:
        return list(workers.map(work, names))


def _rows(frame: pl.LazyFrame | None) -> int:
    return 0 if frame is None else int(frame.select(pl.len()).collect().item())


def _kinds(frame: pl.LazyFrame) -> dict[str, str]:
    kinds = {}
    for name, dtype in frame.collect_schema().items():
        if dtype.is_numeric() or dtype == pl.Boolean:
            kinds[name] = "number"
        elif dtype in (pl.String, pl.Categorical, pl.Enum):
            kinds[name] = "text"
    return kinds


def _at_once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """A small table is read once, of a large one a column at a time, so that memory is that of a few columns."""
    try:
        small = _rows(frame) * len(frame.collect_schema()) <= _SMALL
        return frame.collect().lazy() if small else frame
    except pl.exceptions.PolarsError as error:
        raise InputRejected(f"the table cannot be read: {error}", hint="Is it a whole Parquet file?") from error


def _frame(source: Source) -> pl.LazyFrame:
    if isinstance(source, pl.LazyFrame):
        return source
    if isinstance(source, pl.DataFrame):
        return source.lazy()
    if not isinstance(source, str | Path):
        return _at_once(source.scan())
    path = Path(source)
    if not path.is_file():
        raise InputRejected(f"{source} is no file", hint="Give a Parquet or CSV file, or a frame.")
    if path.suffix != ".csv":
        return _at_once(pl.scan_parquet(path, glob=False))
    try:
        return pl.read_csv(path).lazy()  # read once, not anew for each column
    except pl.exceptions.PolarsError as error:
        raise InputRejected(f"{source} cannot be read: {error}", hint="Is it a CSV file with a header?") from error
