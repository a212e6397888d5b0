"""Metrics and the paired bootstrap, on numpy arrays; profiles of features are `measures.profile`'s.

Pure: randomness comes from the seed given. Apart from the dataclasses in `drift.py` and `metric.py`, because those are
imported by the command line and the model server, which have no need of numpy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from conveyor.domain.measures.histograms import psi
from conveyor.domain.measures.profile import counts_in, profile
from conveyor.domain.metric import METRICS, Metric

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "average_precision",
    "bootstrap",
    "brier",
    "compute",
    "counts_in",
    "f1",
    "log_loss",
    "mae",
    "paired_bootstrap",
    "profile",
    "psi",
    "r2",
    "rmse",
    "roc_auc",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Sums = Callable[[list[float]], float]
Draw = Callable[[np.random.Generator], Ints]

_EPSILON = float(np.finfo(np.float64).eps)
MIN_EVIDENCE = 20
"""Rows of the rarer class (rows, for a regression) below which an interval is not believed."""


# --- metrics: each is a function of sums over rows, so a resample costs a gather and no sorting


def compute(metric: str, y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """The metric of scores `s` [rows] against truth `y` [rows]; NaN where undefined (one class only, no rows)."""
    return _sampler(metric, _floats(y), _floats(s))(None)


def average_precision(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """Sum over thresholds of (recall step) x precision; equal scores are one threshold. NaN without positives."""
    return compute("average_precision", y, s)


def roc_auc(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties counting half (Mann-Whitney). NaN with one class."""
    return compute("roc_auc", y, s)


def log_loss(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """Mean negative log-likelihood; probabilities are clipped to [eps, 1 - eps] of float64."""
    return compute("log_loss", y, s)


def brier(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    return compute("brier", y, s)


def accuracy(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """The share of rows on the right side of a score of 0.5."""
    return compute("accuracy", y, s)


def f1(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """2 TP / (2 TP + FP + FN) at a score of 0.5. NaN where nothing is positive, neither in truth nor by score."""
    return compute("f1", y, s)


def losses(classification: bool) -> Callable[[Floats, Floats], Floats]:
    """Of each row: log loss for a classification, squared error for a regression."""
    return _nll if classification else lambda y, s: (y - s) ** 2


def rmse(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    return compute("rmse", y, s)


def mae(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    return compute("mae", y, s)


def r2(y: npt.ArrayLike, s: npt.ArrayLike) -> float:
    """1 - residual / total sum of squares; a constant truth gives 1 for a perfect score and 0 otherwise."""
    return compute("r2", y, s)


# --- bootstrap


def paired_bootstrap(
    metric: str,
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> tuple[float, float, float]:
    """`metric(a) - metric(b)` on the same rows: (point, low, high), a two-sided percentile interval (Efron 1979).

    `groups` [rows], numbers: rows of one group are drawn together (the cluster bootstrap, Field and Welsh 2007), for
    they tell less than as many independent rows would.

    Not turned by the metric's direction: for `log_loss` a negative difference means that `a` is better.
    A resample in which the metric is undefined (it drew no positive) is left out; with none left the bounds are
    -inf and +inf, which passes for no evidence at all.
    """
    truth = _floats(y)
    first, second = _sampler(metric, truth, _floats(a)), _sampler(metric, truth, _floats(b))
    draw = _by_rows(truth.size) if groups is None else _by_groups(np.asarray(groups))
    return _interval(lambda rows: first(rows) - second(rows), draw, truth.size, resamples, confidence, seed)


def bootstrap(
    metric: str, y: npt.ArrayLike, s: npt.ArrayLike, *, resamples: int = 500, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """One model's metric: (point, low, high), as `paired_bootstrap`."""
    truth = _floats(y)
    draw = _by_rows(truth.size)
    return _interval(_sampler(metric, truth, _floats(s)), draw, truth.size, resamples, confidence, seed)


def _by_rows(rows: int) -> Draw:
    return lambda random: random.integers(0, rows, rows)


def _by_groups(groups: Ints) -> Draw:
    """As many groups as there are, with repeats, and all the rows of each."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)

    def draw(random: np.random.Generator) -> Ints:
        drawn = random.integers(0, sizes.size, sizes.size)
        counts = sizes[drawn]
        offsets = np.repeat(starts[drawn] - np.cumsum(counts) + counts, counts)
        rows: Ints = order[offsets + np.arange(offsets.size)]
        return rows

    return draw


def _interval(
    value: Callable[[Ints | None], float], draw: Draw, rows: int, resamples: int, confidence: float, seed: int
) -> tuple[float, float, float]:
    point = value(None)
    if rows == 0 or resamples <= 0:
        return point, -np.inf, np.inf
    random = np.random.default_rng(seed)
    drawn = np.array([value(draw(random)) for _ in range(resamples)])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0:
        return point, -np.inf, np.inf
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return point, float(low), float(high)


def _sampler(metric: str, y: Floats, s: Floats) -> Callable[[Ints | None], float]:
    """The metric as a function of the row numbers drawn (with repeats); None stands for every row once."""
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"truth has shape {y.shape} and scores have {s.shape}; both must be [rows]")
    if metric in _RANKED:
        return _ranked_sampler(y, s, _RANKED[metric])
    if metric in _ADDITIVE:
        columns, combine = _ADDITIVE[metric]
        return _additive_sampler(columns(y, s), combine)
    raise ValueError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")


def _ranked_sampler(y: Floats, s: Floats, combine: Callable[[Floats, Floats], float]) -> Callable[[Ints | None], float]:
    """Rank metrics only ask where rows stand relative to the k distinct scores of positives.

    Every row gets a cell once (2j: between those scores, 2j + 1: equal to the j-th), 2k + 1 of them for each class;
    a resample is then one gather and one bincount, however many resamples follow.
    """
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("a classification metric needs labels that are 0 or 1")
    if not np.isfinite(s).all():
        return lambda rows: float("nan")
    positive = y == 1.0
    levels = np.unique(s[positive])
    place = np.searchsorted(levels, s, side="left")
    tied = np.zeros(s.size, dtype=bool)
    within = place < levels.size
    tied[within] = levels[place[within]] == s[within]
    cells = 2 * levels.size + 1
    cell = 2 * place + tied + cells * positive

    def value(rows: Ints | None) -> float:
        counts = np.bincount(cell if rows is None else cell[rows], minlength=2 * cells).astype(np.float64)
        return combine(counts[:cells], counts[cells:])

    return value


def _average_precision(negatives: Floats, positives: Floats) -> float:
    total = positives.sum()
    if total == 0:
        return float("nan")
    true = np.cumsum(positives[::-1])[::-1][1::2]
    seen = true + np.cumsum(negatives[::-1])[::-1][1::2]
    return float((positives[1::2] / total * (true / np.maximum(seen, 1.0))).sum())


def _roc_auc(negatives: Floats, positives: Floats) -> float:
    pairs = negatives.sum() * positives.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(negatives) - negatives / 2.0
    return float((positives * below).sum() / pairs)


def _additive_sampler(columns: tuple[Floats, ...], combine: Sums) -> Callable[[Ints | None], float]:
    def value(rows: Ints | None) -> float:
        if columns[0].size == 0:
            return float("nan")
        return combine([float((column if rows is None else column[rows]).mean()) for column in columns])

    return value


def _f1(means: list[float]) -> float:
    hits, predicted, positive = means
    return 2.0 * hits / (predicted + positive) if predicted + positive > 0 else float("nan")


def _r2(means: list[float]) -> float:
    residual, centred, squared = means
    total = squared - centred * centred
    if total <= _EPSILON * max(squared, _EPSILON):
        return 1.0 if residual == 0.0 else 0.0
    return float(1.0 - residual / total)


def _yes(each: npt.NDArray[np.bool_]) -> Floats:
    return each.astype(np.float64)


def _nll(y: Floats, s: Floats) -> Floats:
    p = np.clip(s, _EPSILON, 1.0 - _EPSILON)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


_RANKED: dict[str, Callable[[Floats, Floats], float]] = {"average_precision": _average_precision, "roc_auc": _roc_auc}
_ADDITIVE: dict[str, tuple[Callable[[Floats, Floats], tuple[Floats, ...]], Sums]] = {
    "log_loss": (lambda y, s: (_nll(y, s),), lambda m: m[0]),
    "brier": (lambda y, s: ((y - s) ** 2,), lambda m: m[0]),
    "accuracy": (lambda y, s: (_yes((s >= 0.5) == (y == 1.0)),), lambda m: m[0]),
    "f1": (lambda y, s: (_yes((s >= 0.5) & (y == 1.0)), _yes(s >= 0.5), _yes(y == 1.0)), _f1),
    "mae": (lambda y, s: (np.abs(y - s),), lambda m: m[0]),
    "rmse": (lambda y, s: ((y - s) ** 2,), lambda m: float(np.sqrt(m[0]))),
    # truth centred first: the difference of two large means would lose the digits
    "r2": (lambda y, s: ((y - s) ** 2, y - y.mean(), (y - y.mean()) ** 2), _r2),
}


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
