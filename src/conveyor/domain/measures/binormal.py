"""Simulated holdouts with known truth, by which the gates' rates of error are measured (docs/gates.md).

Binormal: scores are N(0, 1) for negatives and N(separation, 1) for positives, so a metric's true value is known, and a
candidate that is worse by a given margin can be made.
"""

from __future__ import annotations

import statistics as standard
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NORMAL = standard.NormalDist()
_GRID = np.linspace(-8.0, 12.0, 4001)


@dataclass(frozen=True, slots=True)
class Pair:
    """A live model and a candidate on the same rows. `alike` is the correlation of their errors.

    With `per_group` above 1 that many rows share a part of those errors, `shared` of the variance, and their label.
    """

    positives: float
    live: float
    candidate: float
    alike: float = 0.8
    per_group: int = 1
    shared: float = 0.0

    def draw(self, random: np.random.Generator, rows: int) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
        """(truth, candidate's scores, live's scores, groups), each [rows]; cut by a score of 0.5 as `accuracy` cuts."""
        groups = np.arange(rows) // self.per_group
        count = int(groups[-1]) + 1
        truth = (random.random(count) < self.positives).astype(np.float64)[groups]

        def errors() -> Floats:
            own, common = random.normal(size=rows), random.normal(size=count)[groups]
            mixed: Floats = np.sqrt(1.0 - self.shared) * own + np.sqrt(self.shared) * common
            return mixed

        same, first, second = errors(), errors(), errors()
        apart = [np.sqrt(self.alike) * same + np.sqrt(1.0 - self.alike) * one for one in (first, second)]
        candidate, live = self.candidate * truth + apart[0], self.live * truth + apart[1]
        return truth, candidate - self.live / 2.0 + 0.5, live - self.live / 2.0 + 0.5, groups


def worse_by(pair: Pair, metric: str, loss: float) -> Pair:
    """The pair with a candidate whose true value of `metric` is live's less `loss`."""
    wanted = true_value(metric, pair.positives, pair.live, pair.live) - loss
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2.0
        below = true_value(metric, pair.positives, middle, pair.live) < wanted
        low, high = (middle, high) if below else (low, middle)
    return replace(pair, candidate=low)


def true_value(metric: str, positives: float, separation: float, live: float) -> float:
    """`roc_auc`, `average_precision` or `accuracy` (cut at half of live's separation) of endlessly many rows."""
    if metric == "roc_auc":
        return _NORMAL.cdf(separation / np.sqrt(2.0))
    if metric == "accuracy":
        cut = live / 2.0
        return positives * (1.0 - _NORMAL.cdf(cut - separation)) + (1.0 - positives) * _NORMAL.cdf(cut)
    if metric != "average_precision":
        raise ValueError(f"the true value of {metric} is not known")
    recall = np.array([1.0 - _NORMAL.cdf(at - separation) for at in _GRID])
    false = np.array([1.0 - _NORMAL.cdf(at) for at in _GRID])
    precision = positives * recall / np.maximum(positives * recall + (1.0 - positives) * false, 1e-300)
    return float(np.sum((precision[:-1] + precision[1:]) / 2.0 * -np.diff(recall)))
