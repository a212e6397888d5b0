"""The profile of one feature: histograms that are kept, and what its own windows do by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from conveyor.domain.drift import FeatureProfile
from conveyor.domain.measures.histograms import chi_square, psi

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

BLOCKS = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
"""Rows of a window for which a profile knows how far unchanged traffic strays."""

FINE = 100
"""Quantiles of the fine histogram: distances read off it are within 1 % of rank."""
TAILS = (0.0002, 0.0005, 0.001, 0.002, 0.005)
"""More of them at either end, where values lie far apart, for Wasserstein's sake."""

FEW = 50
"""A feature with up to so many different values, each seen often, is one of categories."""
OFTEN = 20

FAR = 10.0
"""A value is extreme so many times the width of the reference's range away from it."""


def counts_in(values: npt.ArrayLike, edges: Sequence[float]) -> tuple[Ints, int]:
    """How many values lie in (edges[i-1], edges[i]], first and last bin open-ended; and how many are not finite."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), finite, side="left")
    return np.bincount(bins, minlength=len(edges) + 1), numbers.size - finite.size


def coarse(profile: FeatureProfile, counts: Sequence[int]) -> Ints:
    """Counts of the profile's grid, summed into the bins of its `edges`."""
    if not profile.fine:
        return np.asarray(counts, dtype=np.int64)
    upper = np.searchsorted(np.asarray(profile.edges), np.asarray((*profile.fine, np.inf)), side="left")
    summed = np.zeros(len(profile.edges) + 1, dtype=np.int64)
    np.add.at(summed, upper, np.asarray(counts, dtype=np.int64))
    return summed


def profile(
    values: npt.ArrayLike, edges: Sequence[float] | None = None, bins: int = 10, blocks: Sequence[int] = BLOCKS
) -> FeatureProfile:
    """The distribution of one feature; `values` [rows] in order of time, null as NaN.

    Edges are values that occur (quantiles of k/bins), as float32, which is what the model server sees. A value that
    holds more than one quantile gets a bin of its own, so a flag or a constant shows a change either way.
    `spread` is the largest PSI of a block of these very values against all of them, for each size of `blocks` that
    fits at least twice: what time of day and day of week do to a window by themselves (see `drift.FeatureProfile`).
    """
    with np.errstate(over="ignore"):
        numbers = np.asarray(values).ravel().astype(np.float32)
    ordered = np.sort(numbers[np.isfinite(numbers)])
    chosen = tuple(float(edge) for edge in edges) if edges is not None else _edges(ordered, bins)
    fine, values_only = _fine(ordered, chosen)
    grid = _between(ordered, fine)
    exact = ordered.astype(np.float64)
    some = exact.size > 0
    spread, dispersion = _stray(numbers, chosen, blocks)
    return FeatureProfile(
        edges=chosen,
        counts=_between(ordered, chosen),
        nulls=numbers.size - ordered.size,
        mean=float(exact.mean()) if some else 0.0,
        std=float(exact.std()) if some else 0.0,
        min=float(exact[0]) if some else 0.0,
        max=float(exact[-1]) if some else 0.0,
        spread=spread,
        fine=fine,
        fine_counts=grid,
        values=values_only,
        dispersion=dispersion,
    )


def _between(ordered: Singles, edges: tuple[float, ...]) -> tuple[int, ...]:
    """How many of the sorted values lie in (edges[i-1], edges[i]]."""
    ends = np.searchsorted(ordered, np.asarray(edges, dtype=np.float32), side="right")
    return tuple(np.diff(np.concatenate([[0], ends, [ordered.size]])).tolist())


def _edges(ordered: Singles, bins: int) -> tuple[float, ...]:
    if ordered.size == 0:
        return ()
    quantiles = _quantiles(ordered, bins)
    distinct, times = np.unique(quantiles, return_counts=True)
    heavy = distinct[times > 1] if bins > 2 else distinct
    return _union(distinct, _below(heavy))


def _fine(ordered: Singles, edges: tuple[float, ...]) -> tuple[tuple[float, ...], bool]:
    """The edges of the fine histogram, and whether every value has a bin of its own."""
    if ordered.size == 0:
        return (), False
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    few = distinct.size <= FEW and ordered.size >= OFTEN * distinct.size
    ends_of = np.array([*TAILS, *(1 - share for share in TAILS)])
    inner = distinct if few else np.unique(np.concatenate([_quantiles(ordered, FINE), _at(ordered, ends_of)]))
    repeated = inner if few else _heavy(ordered)
    low, high = np.float64(ordered[0]), np.float64(ordered[-1])
    with np.errstate(over="ignore"):
        ends = np.array([low - FAR * (high - low), high + FAR * (high - low)], np.float32)
    ends = ends[np.isfinite(ends)] if high > low else ends[:0]
    made = _union(inner, _below(repeated), _below(ordered[:1]), ordered[-1:], ends, np.array(edges, np.float32))
    return made, few


def _heavy(ordered: Singles) -> Singles:
    distinct, times = np.unique(_quantiles(ordered, FINE), return_counts=True)
    return distinct[times > 1]


def _quantiles(ordered: Singles, bins: int) -> Singles:
    """The values at k/bins, for k from 1 to bins - 1, that occur (the inverted distribution function)."""
    return _at(ordered, np.arange(1, bins) / bins)


def _at(ordered: Singles, shares: npt.NDArray[np.float64]) -> Singles:
    places = np.ceil(shares * ordered.size - 1e-9 * ordered.size).astype(np.int64) - 1
    return ordered[np.maximum(places, 0)]


def _below(values: Singles) -> Singles:
    return np.nextafter(values, np.float32(-np.inf))


def _union(*edges: Singles) -> tuple[float, ...]:
    return tuple(float(edge) for edge in np.unique(np.concatenate(edges)))


def _stray(
    numbers: Singles, edges: tuple[float, ...], blocks: Sequence[int]
) -> tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]:
    """Of blocks of each size: the farthest one's PSI, and the mean chi-square against the rest by its degrees."""
    sizes = [size for size in blocks if numbers.size >= 2 * size]
    if not sizes:
        return (), ()
    bins = np.searchsorted(np.asarray(edges, dtype=np.float32), numbers, side="left")
    bins[~np.isfinite(numbers)] = len(edges) + 1
    width = len(edges) + 2
    whole = np.bincount(bins, minlength=width)
    spread, dispersion = [], []
    for size in sizes:
        starts = range(0, bins.size - size + 1, size)
        counted = [np.bincount(bins[start : start + size], minlength=width) for start in starts]
        spread.append((size, max(psi(whole, block) for block in counted)))
        tested = [chi_square(whole - block, block) for block in counted]
        dispersion.append((size, float(np.mean([statistic / max(1, degrees) for statistic, degrees in tested]))))
    return tuple(spread), tuple(dispersion)
