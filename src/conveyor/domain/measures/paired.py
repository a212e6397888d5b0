"""Candidate and another model on the same labelled rows: the difference of their metrics, with an interval.

The paired bootstrap of `statistics` serves every metric. Where independent rows allow a formula it is taken instead:
DeLong's for the area under the ROC curve, and the exact conditional one of McNemar's test for accuracy.
"""

from __future__ import annotations

import statistics as standard
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conveyor.domain import statistics

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """`metric(a) - metric(b)`, and the two-sided interval by `method`; NaN where undefined."""

    point: float
    low: float
    high: float
    method: str
    resamples: int = 0
    groups: int = 0


def difference(
    metric: str,
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    groups: npt.ArrayLike | None = None,
) -> Difference:
    """By the method that fits. With `groups` [rows], which says whose each row is, only a bootstrap of groups does."""
    truth, first, second = (np.asarray(each, dtype=np.float64) for each in (y, a, b))
    if groups is None and metric == "roc_auc":
        return Difference(*delong(truth, first, second, confidence), "DeLong")
    if groups is None and metric == "accuracy":
        return Difference(*mcnemar(truth, first, second, confidence), "McNemar")
    point, low, high = statistics.paired_bootstrap(
        metric, truth, first, second, resamples=resamples, confidence=confidence, seed=seed, groups=groups
    )
    if groups is None:
        return Difference(point, low, high, "bootstrap", resamples)
    return Difference(point, low, high, "bootstrap of groups", resamples, len(np.unique(np.asarray(groups))))


def delong(y: Floats, a: Floats, b: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """The difference of two correlated areas under the ROC curve (DeLong, DeLong and Clarke-Pearson 1988).

    With V10 (a row's share of the negatives below each positive) and V01 (of the positives above each negative), the
    variance is var(V10_a - V10_b) / positives + var(V01_a - V01_b) / negatives; by midranks, as Sun and Xu (2014).
    NaN and unbounded with fewer than two rows of a class.
    """
    positive = y == 1.0
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return statistics.roc_auc(y, a) - statistics.roc_auc(y, b), -np.inf, np.inf
    (v10_a, v01_a), (v10_b, v01_b) = _placements(positive, a), _placements(positive, b)
    point = float(v10_a.mean() - v10_b.mean())
    variance = (v10_a - v10_b).var(ddof=1) / m + (v01_a - v01_b).var(ddof=1) / n
    half = standard.NormalDist().inv_cdf(0.5 + confidence / 2.0) * float(np.sqrt(variance))
    return point, point - half, point + half


def _placements(positive: npt.NDArray[np.bool_], s: Floats) -> tuple[Floats, Floats]:
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = _midranks(s)
    v10 = (ranks[positive] - _midranks(s[positive])) / n
    v01 = 1.0 - (ranks[~positive] - _midranks(s[~positive])) / m
    return v10, v01


def _midranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2.0
    ranks: Floats = middle[inverse]
    return ranks


def mcnemar(y: Floats, a: Floats, b: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """The difference of two accuracies on the same rows; its interval excludes 0 where McNemar's exact test rejects.

    Only the m rows on which one is right and the other wrong tell the two apart. Given m, the number that `a` wins is
    binomial; its Clopper-Pearson bounds p carry over as (2p - 1) m / rows.
    """
    if y.size == 0 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan"), -np.inf, np.inf
    right_a, right_b = (a >= 0.5) == (y == 1.0), (b >= 0.5) == (y == 1.0)
    wins, losses = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    m = wins + losses
    low, high = clopper_pearson(wins, m, confidence)
    return (wins - losses) / y.size, (2.0 * low - 1.0) * m / y.size, (2.0 * high - 1.0) * m / y.size


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a binomial share: where each tail has half of what `confidence` leaves."""
    tail = (1.0 - confidence) / 2.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1, dtype=np.float64)))])
    k = np.arange(trials + 1)
    ways = logs[trials] - logs[k] - logs[trials - k]

    def at_least(least: int, p: float) -> float:
        taken = k[least:]
        return float(np.exp(ways[least:] + taken * np.log(p) + (trials - taken) * np.log1p(-p)).sum())

    low = 0.0 if hits == 0 else _solve(lambda p: at_least(hits, p) - tail)
    high = 1.0 if hits == trials else _solve(lambda p: at_least(hits + 1, p) - (1.0 - tail))
    return low, high


def _solve(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2.0
