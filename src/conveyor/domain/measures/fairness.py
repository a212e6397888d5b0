"""How differently a model treats groups of people: rates by group, and the largest gap between two of them."""

from __future__ import annotations

import math
import statistics as standard
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from conveyor.domain.evaluation import Fairness
from conveyor.domain.gates.config import FairnessGate

Floats = npt.NDArray[np.float64]

LEAST = 20
"""Rows that a group's rate must rest on for the group to be compared."""


def fairness(gate: FairnessGate, y: Floats, s: Floats, groups: Sequence[str], confidence: float) -> Fairness:
    """Rates at a score of `gate.threshold`: of positives that are found (tpr), of negatives that are taken for
    positives (fpr), or of all (selection_rate).

    The interval of the difference of two shares is Newcombe's (1998, method 10); with k pairs of groups each is at
    1 - (1 - confidence) / k (Bonferroni), so that all of them hold at once.
    """
    asked = {"tpr": y == 1.0, "fpr": y == 0.0, "selection_rate": np.ones(y.size, dtype=bool)}[gate.metric]
    chosen, names = s >= gate.threshold, np.asarray(groups)
    counts: dict[str, tuple[int, int]] = {}
    for name in sorted(set(groups)):
        there = asked & (names == name)
        counts[name] = (int((chosen & there).sum()), int(there.sum()))
    compared = {name: count for name, count in counts.items() if count[1] >= LEAST}
    pairs = list(combinations(compared.values(), 2))
    gap = low = high = math.nan
    if pairs:
        bounds = [_apart(*pair, 1.0 - (1.0 - confidence) / len(pairs)) for pair in pairs]
        gap, low, high = (max(bound[i] for bound in bounds) for i in range(3))
    return Fairness(
        column=gate.column,
        metric=gate.metric,
        rates={name: hits / rows for name, (hits, rows) in compared.items()},
        rows={name: rows for name, (_, rows) in counts.items()},
        gap=gap,
        low=low,
        high=high,
    )


def newcombe(first: tuple[int, int], second: tuple[int, int], confidence: float) -> tuple[float, float]:
    """The interval of first's share less second's, from Wilson's interval of each; each is (hits, rows)."""
    p, q = first[0] / first[1], second[0] / second[1]
    (l1, u1), (l2, u2) = wilson(*first, confidence), wilson(*second, confidence)
    return p - q - math.hypot(p - l1, u2 - q), p - q + math.hypot(u1 - p, q - l2)


def wilson(hits: int, rows: int, confidence: float) -> tuple[float, float]:
    z = standard.NormalDist().inv_cdf(0.5 + confidence / 2.0)
    p, scale = hits / rows, 1.0 + z * z / rows
    middle = (p + z * z / (2 * rows)) / scale
    half = z * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def _apart(first: tuple[int, int], second: tuple[int, int], confidence: float) -> tuple[float, float, float]:
    low, high = newcombe(first, second, confidence)
    return abs(first[0] / first[1] - second[0] / second[1]), max(0.0, low, -high), max(abs(low), abs(high))
