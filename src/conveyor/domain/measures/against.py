"""Counts of current values against a stored profile: every distance at once, without a row of either."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from conveyor.domain.drift import Distances, FeatureProfile
from conveyor.domain.measures import histograms
from conveyor.domain.measures.profile import coarse
from conveyor.domain.measures.tails import chi_square_tail


def against(
    reference: FeatureProfile, counts: Sequence[int], nulls: int, low: float | None = None, high: float | None = None
) -> Distances:
    """`counts` in the bins of the profile's grid, of finite values that lie between `low` and `high`.

    PSI, Jensen-Shannon and chi-square are of the profile's ten bins and the nulls (of all values, where it has few),
    the distribution functions' of the fine ones.
    """
    fine = np.asarray(counts, dtype=np.int64)
    if not fine.sum() + nulls or not reference.rows:
        return Distances()
    if reference.values:
        before, after = np.asarray(reference.grid_counts), fine
    else:
        before, after = np.asarray(reference.counts), coarse(reference, counts)
    old, new = np.append(before, reference.nulls), np.append(after, nulls)
    statistic, degrees = histograms.chi_square(old, new)
    dispersion = max(1.0, reference.dispersed(int(new.sum())))
    psi_of = np.append(reference.counts, reference.nulls), np.append(coarse(reference, counts), nulls)
    apart = 0.0
    if low is not None and high is not None and reference.grid_counts:
        ends = min(low, reference.min), max(high, reference.max)
        apart = histograms.wasserstein(reference.grid, reference.grid_counts, fine, *ends)
    return Distances(
        psi=histograms.psi(*psi_of),
        jensen_shannon=histograms.jensen_shannon(old, new),
        ks=histograms.ks(reference.grid_counts, fine),
        wasserstein=apart / (reference.std or 1.0),
        chi_square=statistic,
        degrees=degrees,
        p_value=chi_square_tail(statistic / dispersion, degrees),
        new=_new(reference, fine),
        outside=_outside(reference, fine),
        extreme=_extreme(reference, fine),
    )


def _new(reference: FeatureProfile, counts: npt.NDArray[np.int64]) -> float:
    """The share of values between those of the reference that it never had, beyond what its own rare ones lead to
    expect (Good 1953)."""
    if not reference.values or not counts.sum():
        return 0.0
    known, upper = np.asarray(reference.grid_counts), np.asarray((*reference.fine, np.inf))
    new = (known == 0) & (upper > reference.min) & (upper < reference.max)
    expected = int((known == 1).sum()) / max(1, int(known.sum()))
    return max(0.0, int(counts[new].sum()) / int(counts.sum()) - expected)


def _outside(reference: FeatureProfile, counts: npt.NDArray[np.int64]) -> float:
    """The share of values beyond the least and the greatest of the reference."""
    if not reference.fine or not counts.sum():
        return 0.0
    upper, lower = np.asarray((*reference.fine, np.inf)), np.asarray((-np.inf, *reference.fine))
    beyond = int(counts[(upper < reference.min) | (lower >= reference.max)].sum())
    return beyond / int(counts.sum())


def _extreme(reference: FeatureProfile, counts: npt.NDArray[np.int64]) -> float:
    """The share beyond ten widths of the reference's range."""
    if not reference.fine or not counts.sum():
        return 0.0
    lowest = float(np.nextafter(np.float32(reference.min), np.float32(-np.inf)))
    below = int(counts[0]) if reference.fine[0] < lowest else 0
    above = int(counts[-1]) if reference.fine[-1] > reference.max else 0
    return (below + above) / int(counts.sum())
