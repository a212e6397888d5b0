"""How far a column moved between two sketches of it: the population stability index, without reading a row."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from conveyor.domain import statistics
from conveyor.domain.table_diff import Shift
from conveyor.sdk.sketch import Sketch

BINS = 10
_VALUES = 20  # of a text that get a bin each


def shift(before: Sketch, after: Sketch) -> Shift | None:
    """None where there is nothing to compare: times only ever move on, and a nested column has no distribution."""
    if before.dtype != after.dtype or before.dtype.startswith(("Date", "Time", "Duration")):
        return None
    if before.moments.count and after.moments.count:
        counted = _numbers(before, after)
    elif before.top(1) or after.top(1):
        counted = _texts(before, after)
    else:
        return None
    old, new = (
        [*counts, sketch.nulls + sketch.not_finite] for counts, sketch in zip(counted, (before, after), strict=True)
    )
    if not (before.rows and after.rows):
        return None
    chance = (len(old) - 1) * (1 / before.rows + 1 / after.rows)
    return Shift(statistics.psi(np.asarray(old), np.asarray(new)), chance)


def shifts(
    before: Mapping[str, Sketch], after: Mapping[str, Sketch], apart: Collection[str | None]
) -> dict[str, Shift]:
    """Of the columns that both have, but for those `apart`: keys and times, which are new in new rows."""
    found = {name: shift(before[name], after[name]) for name in after if name in before and name not in apart}
    return {name: each for name, each in found.items() if each is not None}


def histogram(sketch: Sketch, bins: int) -> tuple[float, ...]:
    """Shares of the finite values in bins of equal width from the 1st to the 99th percentile, what lies beyond in the
    outermost ones; () where a column has no numbers, or one only."""
    if not sketch.moments.count:
        return ()
    low, high = sketch.quantiles.get_quantiles([0.01, 0.99])
    inner = np.linspace(low, high, bins + 1)[1:-1]
    if not np.all(np.diff(inner) > 0):
        return ()
    return tuple(float(share) for share in sketch.quantiles.get_pmf(inner.tolist(), True))


def _numbers(before: Sketch, after: Sketch) -> tuple[list[float], list[float]]:
    """Rows in bins between the deciles of `before`; a value that holds more than one decile has a bin of its own."""
    deciles = np.asarray(before.quantiles.get_quantiles([n / BINS for n in range(1, BINS)]))
    values, times = np.unique(deciles, return_counts=True)
    heavy = values[times > 1]
    edges = np.unique(np.concatenate([values, np.nextafter(heavy, -np.inf)]))
    return _within(before, edges), _within(after, edges)


def _within(sketch: Sketch, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    shares = sketch.quantiles.get_pmf(edges.tolist(), True)
    return [float(share) * sketch.moments.count for share in shares]


def _texts(before: Sketch, after: Sketch) -> tuple[list[float], list[float]]:
    """Rows of each frequent value, and of all others together."""
    values = dict.fromkeys(value for sketch in (before, after) for value, _ in sketch.top(_VALUES))

    def counts(sketch: Sketch) -> list[float]:
        each = [float(sketch.frequent.get_estimate(value)) for value in values]
        return [*each, max(0.0, sketch.rows - sketch.nulls - sum(each))]

    return counts(before), counts(after)
