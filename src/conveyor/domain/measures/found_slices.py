"""Slices that nobody declared: where a candidate's loss rose over the live version's, found on one half of the holdout
and tested on the other.

A search through many slices always finds a bad one; a test on rows that the search has not seen does not believe it.
"""

from __future__ import annotations

import math
import statistics as standard
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conveyor.domain.evaluation import FoundSlice
from conveyor.domain.measures.multiple import holm

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BEAM, TESTED, LEAST = 8, 5, 30


@dataclass(frozen=True, slots=True)
class Column:
    """A column cut into parts: a part's number for each row, and what each part is called."""

    codes: Ints
    parts: Sequence[str]


def find(
    columns: Mapping[str, Column], candidate: Floats, live: Floats, *, rise: float, units: Ints, seed: int
) -> tuple[FoundSlice, ...]:
    """Up to TESTED slices of one or two conditions; losses are [rows], never negative.

    Null hypothesis of each: the candidate's mean loss there is at most (1 + rise) times live's. `units` [rows] says
    which rows belong together: they fall into the same half, and the standard error is that of their sums. p-values
    are adjusted by Holm.
    """
    excess = candidate - (1.0 + rise) * live
    _, units = np.unique(units, return_inverse=True)
    count = int(units.max()) + 1 if units.size else 0
    searched = (np.random.default_rng(seed).random(count) < 0.5)[units]
    literals = {f"{name} {part}": column.codes == at for name, column in columns.items() for at, part in _parts(column)}
    named = _beam(literals, excess, searched, units)
    tested = [(name, mask & ~searched) for name, mask in named]
    tested = [(name, mask) for name, mask in tested if int(mask.sum()) >= LEAST]
    p_values = [1.0 - standard.NormalDist().cdf(_t(excess, mask, units)) for _, mask in tested]
    return tuple(
        FoundSlice(name, int(mask.sum()), float(candidate[mask].mean()), float(live[mask].mean()), p)
        for (name, mask), p in zip(tested, holm(p_values), strict=True)
    )


def _parts(column: Column) -> list[tuple[int, str]]:
    return list(enumerate(column.parts))


def _beam(literals: Mapping[str, Mask], excess: Floats, searched: Mask, units: Ints) -> list[tuple[str, Mask]]:
    def ranked(found: dict[str, Mask]) -> list[tuple[float, str]]:
        scores = [(_t(excess, mask & searched, units), name) for name, mask in found.items()]
        return sorted((one for one in scores if one[0] > 0), reverse=True)

    masks = dict(literals)
    singles = ranked(masks)
    doubles: dict[str, Mask] = {}
    for _, name in singles[:BEAM]:
        for other, mask in literals.items():
            if other.split(" ")[0] != name.split(" ")[0] and f"{other} and {name}" not in doubles:
                doubles[f"{name} and {other}"] = masks[name] & mask
    best = sorted([*singles, *ranked(doubles)], reverse=True)[:TESTED]
    masks |= doubles
    return [(name, masks[name]) for _, name in best]


def _t(excess: Floats, mask: Mask, units: Ints) -> float:
    """Mean over its standard error, of sums by unit; 0 where there is too little to tell."""
    rows = int(mask.sum())
    if rows < LEAST:
        return 0.0
    inside = excess[mask]
    mean = float(inside.mean())
    sums = np.bincount(units[mask], weights=inside - mean)
    error = math.sqrt(float((sums**2).sum())) / rows
    return mean / error if error > 0 else 0.0
