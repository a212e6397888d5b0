"""What the gates ask of a candidate beyond its metric: measured on the holdout, only where a gate is set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from conveyor.domain import statistics
from conveyor.domain.evaluation import Fairness, FoundSlice, SliceFigures
from conveyor.domain.measures import found_slices, paired
from conveyor.domain.measures.fairness import fairness
from conveyor.domain.metric import METRICS
from conveyor.domain.step import EvaluateSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

LARGEST = 50
"""Values of a declared slice's column that are judged: those with the most rows."""
RESAMPLES = 300
PARTS = 5


def codes(holdout: pl.DataFrame, column: str) -> Ints:
    """A number for each row, equal where `column` is; rows without a value are alike."""
    found: Ints = column_of(holdout, column).rank("dense").cast(pl.Int64).to_numpy()
    return found


def column_of(holdout: pl.DataFrame, column: str) -> pl.Series:
    if column not in holdout.columns:
        raise InputRejected(
            f"the holdout has no column {column}; it has {', '.join(holdout.columns)}",
            hint="Keep the column in the step that the model reads, or take it out of conveyor.toml.",
        )
    return holdout[column].cast(pl.String).fill_null("null")


def further_metrics(names: tuple[str, ...], holdout: pl.DataFrame, truth: Floats, scores: Floats) -> dict[str, float]:
    """The user's own metrics by their functions' names; each is called with (rows, truth, scores)."""
    found = {}
    for path in names:
        value = functions.find(path)(holdout, truth, scores)
        if not isinstance(value, int | float | np.number):
            raise InputRejected(f"{path} returned {type(value).__name__}", hint="A metric returns one number.")
        found[path.partition(":")[2]] = float(value)
    return found


def slice_figures(
    spec: EvaluateSpec, holdout: pl.DataFrame, truth: Floats, scores: Floats, live: Floats | None
) -> tuple[SliceFigures, ...]:
    """Of every declared slice with enough rows: the metric, the difference from live, and the error of each."""
    return tuple(one for column in spec.slices for one in _values(spec, column, holdout, truth, scores, live))


def _values(
    spec: EvaluateSpec, column: str, holdout: pl.DataFrame, truth: Floats, scores: Floats, live: Floats | None
) -> Iterator[SliceFigures]:
    values = column_of(holdout, column)
    for value in values.value_counts(sort=True).head(LARGEST)[column].sort().to_list():
        mask = (values == value).to_numpy()
        positives = int((truth[mask] == 1).sum())
        rows = int(mask.sum())
        rarer = min(positives, rows - positives) if METRICS[spec.metric].classification else rows
        if rarer < statistics.MIN_EVIDENCE:
            continue
        how = {"resamples": RESAMPLES, "seed": spec.seed}
        figure, low, high = statistics.bootstrap(spec.metric, truth[mask], scores[mask], confidence=0.95, **how)
        difference = error = None
        if live is not None:
            group = codes(holdout, spec.group)[mask] if spec.group else None
            found = paired.difference(
                spec.metric, truth[mask], scores[mask], live[mask], confidence=0.95, groups=group, **how
            )
            difference, error = found.point, _error(found.low, found.high)
        yield SliceFigures(f"{column}={value}", rows, positives, figure, _error(low, high), difference, error)


def _error(low: float, high: float) -> float:
    """The standard error that a 95 % interval stands for."""
    return (high - low) / (2 * 1.959964)


def search_slices(
    spec: EvaluateSpec,
    features: tuple[str, ...],
    holdout: pl.DataFrame,
    truth: Floats,
    scores: Floats,
    live: Floats | None,
) -> tuple[FoundSlice, ...]:
    """Where the candidate's loss (log loss, or squared error) is over live's, by parts of features and slices."""
    gate = spec.gates.slices
    if gate is None or not gate.find or live is None:
        return ()
    columns = {name: _column(holdout[name]) for name in dict.fromkeys([*spec.slices, *features])}
    units = codes(holdout, spec.group) if spec.group else np.arange(len(truth))
    loss = statistics.losses(METRICS[spec.metric].classification)
    return found_slices.find(
        columns, loss(truth, scores), loss(truth, live), rise=gate.rise, units=units, seed=spec.seed
    )


def _column(values: pl.Series) -> found_slices.Column:
    """At most 20 values as they are, else numbers in PARTS of about as many rows; the rarest words are no part."""
    if values.n_unique() > 20 and values.dtype.is_numeric():
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        finite = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(finite, np.arange(1, PARTS) / PARTS)) if finite.size else np.zeros(0)
        cut = np.where(np.isfinite(numbers), np.searchsorted(edges, numbers, side="right"), -1)
        bounds = [f"{edge:.6g}" for edge in edges]
        names = [f"in [{a}, {b})" for a, b in zip(["-inf", *bounds], [*bounds, "inf"], strict=True)]
        return found_slices.Column(cut.astype(np.int64), names)
    words = values.cast(pl.String).fill_null("null")
    names = words.value_counts(sort=True).head(20)[words.name].to_list()
    at = {name: i for i, name in enumerate(names)}
    return found_slices.Column(
        np.array([at.get(word, -1) for word in words.to_list()], dtype=np.int64), [f"= {name}" for name in names]
    )


def fairness_of(spec: EvaluateSpec, holdout: pl.DataFrame, truth: Floats, scores: Floats) -> Fairness | None:
    gate = spec.gates.fairness
    if gate is None:
        return None
    return fairness(gate, truth, scores, column_of(holdout, gate.column).to_list(), spec.confidence)
