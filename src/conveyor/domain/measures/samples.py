"""Exact distances between two samples, each sorted. Both cost little beside the sorting."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP = 32
BLOCK = 65_536


def ks(first: Numbers, second: Numbers) -> float:
    """The two-sample Kolmogorov-Smirnov distance. Both sorted, finite.

    Looked up at every 32nd value. Between two of those it is at most the rise of one function from the lower of them to
    just below the upper, so only stretches that may hold the largest are looked through: few, in large samples.
    """
    if not first.size or not second.size:
        return 0.0
    pivots = np.unique(np.append(first[::STEP], first[-1]))
    f, g = _reached(first, pivots), _reached(second, pivots)
    best = float(np.abs(f - g).max())
    f_before, g_before = np.concatenate([[0.0], f[:-1]]), np.concatenate([[0.0], g[:-1]])
    f_below, g_below = _reached(first, pivots, "left"), _reached(second, pivots, "left")
    bound = np.maximum(f_below - g_before, g_below - f_before)
    stretches = np.flatnonzero(bound > best)
    if not stretches.size:
        return best
    for sample in (first, second):
        starts = np.concatenate([[0], np.searchsorted(sample, pivots[:-1], side="right")])
        ends = np.searchsorted(sample, pivots, side="left")
        sizes = (ends - starts)[stretches]
        places = np.repeat(starts[stretches] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        values = sample[places]
        best = max(best, float(np.abs(_reached(first, values) - _reached(second, values)).max(initial=0.0)))
    return best


def wasserstein(first: Numbers, second: Numbers) -> float:
    """Wasserstein-1: the mean distance between the values that stand at the same share of either. Both sorted.

    As many values on both sides: the mean of their differences. Else shares are counted in steps of 1 / (n m), which
    are whole numbers, and taken some at a time.
    """
    n, m = first.size, second.size
    if not n or not m:
        return 0.0
    if n == m:
        return float(np.abs(np.subtract(first, second, dtype=np.float64)).mean())
    total = 0.0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        low, high = start * m, stop * m
        own = np.arange(start + 1, stop + 1, dtype=np.int64) * m
        other = np.arange(low // n + 1, -(-high // n), dtype=np.int64) * n
        ends = np.sort(np.concatenate([own, other]), kind="stable")
        begins = np.concatenate([[low], ends[:-1]])
        apart = np.abs(np.subtract(first[begins // m], second[begins // n], dtype=np.float64))
        total += float((apart * (ends - begins)).sum())
    return total / (float(n) * float(m))


def _reached(sample: Numbers, values: Numbers, side: Literal["left", "right"] = "right") -> Floats:
    return np.searchsorted(sample, values, side=side) / sample.size
