"""Expected quality from calibrated scores alone: confidence-based performance estimation.

The idea (NannyML, "Confidence-based Performance Estimation"): where a score means that a row is positive with
probability p, the row is expected to be p of a positive and 1 - p of a negative, so every entry of the expected
confusion matrix is a sum of p and 1 - p, and a metric of it needs no label.

Here scores are counted into the blocks of a calibrator, whose rates rise with the score (isotonic regression by pooling
adjacent violators, Ayer et al. 1955). With n rows of rate p in each block, all rows of a block alike:

    roc_auc            sum over pairs of blocks of p_i n_i (1 - p_j) n_j, ties half, over all expected pairs
    average_precision  sum over blocks, the highest score first, of expected recall step x expected precision
    log_loss, brier    sum of p loss(1, s) + (1 - p) loss(0, s), over rows
    accuracy, f1       the confusion matrix at a score of 0.5, which is an edge

To that the calibrator's offset is added: what its own labelled rows had beyond what is expected of their blocks.
The interval comes from draws of what is not known: the rates (a Beta posterior each), then the labels (a binomial
each). It holds while a score means what it meant when the calibrator was fitted: under concept drift it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from conveyor.domain.estimate import Calibrator, Estimate, ScoreTally
from conveyor.domain.metric import METRICS
from conveyor.domain.statistics import compute

Floats = npt.NDArray[np.float64]

BLOCKS = 50
LEAST = 20
"""Rows of the rarer class without which no calibrator is fitted."""
DRAWS = 400
_BOUNDED = ("roc_auc", "average_precision", "accuracy", "f1", "brier")
_LOSSES = ("log_loss", "brier")
_EPSILON = float(np.finfo(np.float64).eps)


def calibrator(y: npt.ArrayLike, s: npt.ArrayLike) -> Calibrator | None:
    """Of scores `s` [rows] with truth `y` [rows], 0 or 1; None where there is too little of a class to learn from."""
    truth, scores = _finite(y, s)
    if min(truth.sum(), (1.0 - truth).sum()) < LEAST:
        return None
    return _with_truth(Calibrator(_edges(truth, scores), (), ()), truth, scores, None)


def renewed(old: Calibrator, y: npt.ArrayLike, s: npt.ArrayLike) -> Calibrator:
    """The calibrator after the labels of a later time. It remembers about as many rows as it was fitted on: as many new
    ones as it holds halve what was known before, few new ones change it little."""
    truth, scores = _finite(y, s)
    if min(truth.sum(), (1.0 - truth).sum()) < LEAST:
        return old
    return _with_truth(old, truth, scores, old)


def tally(scores: npt.ArrayLike, edges: Sequence[float]) -> ScoreTally:
    """Scores [rows] counted into blocks; those that are not finite are left out."""
    given = np.asarray(scores, dtype=np.float64)
    given = given[np.isfinite(given)]
    place = np.searchsorted(np.asarray(edges), given, side="left")
    size = len(edges) + 1
    if given.size and (given.min() < 0.0 or given.max() > 1.0):
        return ScoreTally(tuple(np.bincount(place, minlength=size).tolist()))
    clipped = np.clip(given, _EPSILON, 1.0 - _EPSILON)
    losses = {"log_loss": (-np.log1p(-clipped), -np.log(clipped)), "brier": (given**2, (1.0 - given) ** 2)}
    sums = {name: tuple(_sums(place, loss, size) for loss in pair) for name, pair in losses.items()}
    return ScoreTally(
        tuple(np.bincount(place, minlength=size).tolist()), {name: (pair[0], pair[1]) for name, pair in sums.items()}
    )


def estimate(
    metric: str, given: ScoreTally, by: Calibrator, *, confidence: float = 0.95, seed: int = 0
) -> Estimate | None:
    """What the metric is on these scores, by what such scores meant before. None where that cannot be told: a metric
    of regression, losses of scores that are no probabilities, no rows."""
    named = METRICS.get(metric)
    if named is None or not named.classification or not given.rows or metric not in by.offsets:
        return None
    if metric in _LOSSES and metric not in given.losses:
        return None
    offset = by.offsets[metric]
    value = float(_expected(metric, given, rates(by)[None, :], by.edges)[0])
    drawn = _drawn(metric, given, by, np.random.default_rng(seed))
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not drawn.size:
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    low, high = min(float(low), value), max(float(high), value)
    point, low, high = (_bounded(metric, each + offset) for each in (value, low, high))
    return Estimate(metric, point, low, high, confidence)


def rates(by: Calibrator) -> Floats:
    """The share of positives in each block, not falling from one block to the next."""
    rows, positives = np.asarray(by.rows), np.asarray(by.positives)
    pooled: list[tuple[float, float, int]] = []  # positives, rows, blocks
    for hits, count in zip(positives, rows, strict=True):
        block = (float(hits), float(count), 1)
        while pooled and (pooled[-1][1] == 0 or block[1] == 0 or pooled[-1][0] * block[1] >= block[0] * pooled[-1][1]):
            before = pooled.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        pooled.append(block)
    return np.concatenate([np.full(blocks, hits / count if count else 0.0) for hits, count, blocks in pooled])


def _edges(truth: Floats, scores: Floats) -> tuple[float, ...]:
    """Quantiles of the scores, both classes weighing the same, and the 0.5 at which accuracy and f1 cut."""
    order = np.argsort(scores, kind="stable")
    weight = np.where(truth[order] == 1.0, 0.5 / truth.sum(), 0.5 / (1.0 - truth).sum())
    at = np.searchsorted(np.cumsum(weight), np.arange(1, BLOCKS) / BLOCKS)
    chosen = np.unique(scores[order][np.minimum(at, scores.size - 1)])
    cut = np.nextafter(np.float32(0.5), np.float32(0.0)).astype(np.float64)  # 0.5 itself is above the cut
    return tuple(float(edge) for edge in np.union1d(chosen, [cut]))


def _with_truth(old: Calibrator, truth: Floats, scores: Floats, before: Calibrator | None) -> Calibrator:
    place = np.searchsorted(np.asarray(old.edges), scores, side="left")
    size = len(old.edges) + 1
    rows, positives = _sums(place, np.ones_like(truth), size), _sums(place, truth, size)
    own = Calibrator(old.edges, rows, positives)
    known = tally(scores, old.edges)
    kept = before.memory / (before.memory + truth.size) if before is not None else 0.0
    offsets = {}
    for metric in METRICS.values():
        if not metric.classification or (metric.name in _LOSSES and metric.name not in known.losses):
            continue
        expected = float(_expected(metric.name, known, rates(own)[None, :], own.edges)[0])
        offset = compute(metric.name, truth, scores) - expected
        if before is not None and metric.name in before.offsets:
            offset = (1.0 - kept) * offset + kept * before.offsets[metric.name]
        if np.isfinite(offset):
            offsets[metric.name] = offset
    if before is None:
        return Calibrator(own.edges, own.rows, own.positives, offsets, float(truth.size))
    return Calibrator(
        own.edges,
        tuple(kept * a + b for a, b in zip(before.rows, own.rows, strict=True)),
        tuple(kept * a + b for a, b in zip(before.positives, own.positives, strict=True)),
        offsets,
        before.memory,
    )


def _expected(metric: str, given: ScoreTally, p: Floats, edges: Sequence[float]) -> Floats:
    """The metric for each row of rates `p` [draws, blocks]."""
    counts = np.asarray(given.counts, dtype=np.float64)
    positive, negative = p * counts, (1.0 - p) * counts
    if metric in _LOSSES:
        zero, one = (np.asarray(each) for each in given.losses[metric])
        losses: Floats = ((1.0 - p) * zero + p * one).sum(axis=1) / counts.sum()
        return losses
    if metric in ("accuracy", "f1"):
        return _at_half(metric, positive, negative, edges)
    return _auc(positive, negative) if metric == "roc_auc" else _precision(positive, counts)


def _at_half(metric: str, positive: Floats, negative: Floats, edges: Sequence[float]) -> Floats:
    first = int(np.searchsorted(np.asarray(edges), 0.5, side="left"))  # the block that begins at 0.5
    hits, missed = positive[:, first:].sum(axis=1), positive[:, :first].sum(axis=1)
    false, passed = negative[:, first:].sum(axis=1), negative[:, :first].sum(axis=1)
    above, below = (hits + passed, false + missed) if metric == "accuracy" else (2.0 * hits, false + missed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = above / (above + below)
    return value


def _auc(positive: Floats, negative: Floats) -> Floats:
    below = np.cumsum(negative, axis=1) - negative / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return value


def _precision(positive: Floats, counts: Floats) -> Floats:
    """Rows of a block stand in any order: the precision at a positive in it is that of its middle, on average."""
    hits = np.cumsum(positive[:, ::-1], axis=1)[:, ::-1]
    seen = np.cumsum(counts[::-1])[::-1]
    middle = (hits - positive / 2.0) / np.maximum(seen - counts / 2.0, 0.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = (positive * middle).sum(axis=1) / positive.sum(axis=1)
    return value


def _drawn(metric: str, given: ScoreTally, by: Calibrator, random: np.random.Generator) -> Floats:
    counts, rows = np.asarray(given.counts), np.asarray(by.rows)
    level = rates(by)
    sure = random.beta(level * rows + 0.5, (1.0 - level) * rows + 0.5, (DRAWS, counts.size))
    labels = random.binomial(counts, sure)
    share = np.divide(labels, counts, out=np.zeros_like(sure), where=counts > 0)
    return _expected(metric, given, share, by.edges)


def _finite(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[Floats, Floats]:
    truth, scores = np.asarray(y, dtype=np.float64), np.asarray(s, dtype=np.float64)
    there = np.isfinite(scores) & np.isfinite(truth)
    return truth[there], scores[there]


def _sums(place: npt.NDArray[np.int64], weights: Floats, size: int) -> tuple[float, ...]:
    return tuple(np.bincount(place, weights, minlength=size).tolist())


def _bounded(metric: str, value: float) -> float:
    return float(min(max(value, 0.0), 1.0)) if metric in _BOUNDED else float(value)
