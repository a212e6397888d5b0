"""Distances between two histograms over the same bins. Counts in, figures out; two rows or a billion cost the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from conveyor.domain.measures.tails import chi_square_tail

Floats = npt.NDArray[np.float64]
Counts = Sequence[float] | Sequence[int] | npt.NDArray[np.int64] | Floats

SMOOTHING = 0.5


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index between two histograms over the same bins: sum (p - q) ln(p / q); 0 when alike.

    Half a row is added to every bin of both (Jeffreys' prior), so that an empty bin costs a finite amount that
    shrinks as rows grow. Nulls take part when the caller appends them as a bin. Under no change the expected value
    is about (bins - 1)(1/n + 1/m). No rows on either side: 0, for there is nothing to tell.
    """
    expected, actual = _pair(reference, current)
    if expected.sum() == 0 or actual.sum() == 0:
        return 0.0
    p = (actual + SMOOTHING) / (actual.sum() + SMOOTHING * actual.size)
    q = (expected + SMOOTHING) / (expected.sum() + SMOOTHING * expected.size)
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The Jensen-Shannon distance to the base of 2: 0 when alike, 1 when no bin is shared."""
    p, q = _shares(*_pair(reference, current))
    if p is None or q is None:
        return 0.0
    middle = (p + q) / 2.0

    def entropy(part: Floats) -> float:
        some = part > 0
        return float((part[some] * np.log2(part[some] / middle[some])).sum())

    return float(np.sqrt(max(0.0, (entropy(p) + entropy(q)) / 2.0)))


def chi_square(reference: Counts, current: Counts) -> tuple[float, int]:
    """Pearson's statistic of homogeneity and its degrees of freedom; bins that are empty on both sides say nothing."""
    first, second = _pair(reference, current)
    seen = first + second > 0
    if seen.sum() < 2 or first.sum() == 0 or second.sum() == 0:
        return 0.0, 0
    table = np.vstack([first[seen], second[seen]])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), int(seen.sum()) - 1


def homogeneity(reference: Counts, current: Counts, dispersion: float = 1.0) -> float:
    """The p-value of `chi_square`. `dispersion`: how many times more than by chance the reference strays by itself."""
    statistic, degrees = chi_square(reference, current)
    return chi_square_tail(statistic / max(1.0, dispersion), degrees)


def ks(reference: Counts, current: Counts) -> float:
    """The largest difference of the two distribution functions at the bins' edges.

    The exact one exceeds it by at most the share of one bin, of either side.
    """
    p, q = _shares(*_pair(reference, current))
    return 0.0 if p is None or q is None else float(np.abs(np.cumsum(p - q)).max())


def wasserstein(edges: Sequence[float], reference: Counts, current: Counts, low: float, high: float) -> float:
    """The area between the two distribution functions, each a straight line within a bin.

    Bins are (edges[i-1], edges[i]]; the open ones end at `low` and `high`, between which all values of both lie.
    """
    p, q = _shares(*_pair(reference, current))
    if p is None or q is None:
        return 0.0
    inner = np.clip(np.asarray(edges, dtype=np.float64), low, high)
    widths = np.diff(np.concatenate([[low], inner, [high]]))
    gap = np.concatenate([[0.0], np.cumsum(p - q)[:-1], [0.0]])
    left, right = gap[:-1], gap[1:]
    both = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    area = np.where(crossing, (left**2 + right**2) / np.where(both > 0, 2.0 * both, 1.0), both / 2.0)
    return float((widths * area).sum())


def _pair(reference: Counts, current: Counts) -> tuple[Floats, Floats]:
    expected, actual = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if expected.shape != actual.shape:
        raise ValueError(f"histograms of {expected.size} and {actual.size} bins cannot be compared")
    return expected, actual


def _shares(expected: Floats, actual: Floats) -> tuple[Floats | None, Floats | None]:
    first, second = expected.sum(), actual.sum()
    return (None, None) if first == 0 or second == 0 else (expected / first, actual / second)
