"""Predictions of a live version and of its shadow, found together by the request, and what they differ by."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from conveyor.domain.observation import Prediction
from conveyor.domain.shadow import Shadowed
from conveyor.domain.statistics import counts_in, psi

MOST_WAITING = 4000
"""So many halves of pairs are kept at once. With more, requests are left out by chance: the same ones on both sides."""
MOST_ROWS_WAITING = 200_000
"""And so many rows; they are kept as a record."""
MOST_ROWS = 10_000
"""A request of more rows is not compared: alone it would push out the others."""
LATE_SECONDS = 5.0
"""The candidate's log has come so far beyond a request without an answer to it: there will be none."""
LATEST_SECONDS = 30.0
_ALL = 1 << 32

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Half:
    at: float
    scores: bytes  # float32


@dataclass(frozen=True, slots=True)
class Halves:
    """What waits for the other version's answer to the same request; `id` is that of the Shadowed."""

    id: str
    live: dict[str, Half] = field(default_factory=dict)
    new: dict[str, Half] = field(default_factory=dict)
    read_until: float = 0.0  # the newest time in the candidate's log
    level: int = _ALL  # requests whose hash is below it take part


def taken(halves: Halves, predictions: Iterable[Prediction]) -> Halves:
    """With more of the logs; which side a prediction is on, its mark says."""
    live, new, until, level = dict(halves.live), dict(halves.new), halves.read_until, halves.level
    for each in predictions:
        shadow = each.mark == "shadow"
        until = max(until, each.at) if shadow else until
        if _place(each.pair) < level and each.rows <= MOST_ROWS:
            (new if shadow else live)[each.pair] = Half(each.at, each.scores)
    while any(len(side) > MOST_WAITING or _rows(side) > MOST_ROWS_WAITING for side in (live, new)):
        level //= 2
        live, new = ({pair: half for pair, half in side.items() if _place(pair) < level} for side in (live, new))
    return Halves(halves.id, live, new, until, level)


def compared(seen: Shadowed, halves: Halves, now: float) -> tuple[Shadowed, Halves]:
    """Counts what has both halves; what has waited too long for its other half is given up."""
    both = halves.live.keys() & halves.new.keys()
    seen = _counted(seen, [(halves.live[pair].scores, halves.new[pair].scores) for pair in sorted(both)])
    live = {pair: half for pair, half in halves.live.items() if pair not in both}
    late = {
        pair for pair, half in live.items() if half.at < max(halves.read_until - LATE_SECONDS, now - LATEST_SECONDS)
    }
    waiting = {
        pair: half for pair, half in halves.new.items() if pair not in both and half.at >= now - 2 * LATEST_SECONDS
    }
    kept = {pair: half for pair, half in live.items() if pair not in late}
    return replace(seen, unanswered=seen.unanswered + len(late)), replace(halves, live=kept, new=waiting)


def _counted(seen: Shadowed, pairs: Sequence[tuple[bytes, bytes]]) -> Shadowed:
    for first, second in pairs:
        live, new = _scores(first), _scores(second)
        if live.size != new.size:
            new = np.full(live.shape, np.nan)  # rows without an answer
        fine = np.isfinite(live)
        with np.errstate(invalid="ignore"):
            apart = np.abs(new - live) / seen.scale
        apart = np.where(fine & np.isfinite(new), apart, np.where(fine, 1.0, 0.0))
        if not live.size:
            continue
        bounded = np.minimum(apart, 1.0)
        seen = replace(
            seen,
            requests=seen.requests + 1,
            rows=seen.rows + live.size,
            differing=seen.differing + int((apart > seen.tolerance).sum()),
            difference=seen.difference + float(bounded.mean()),
            largest=max(seen.largest, float(apart.max())),
            broken=seen.broken + bool((fine & ~np.isfinite(new)).any()),
            live=_added(seen.live, live, seen.edges),
            new=_added(seen.new, new, seen.edges),
        )
    if not pairs or not sum(seen.new):
        return seen
    shares = [np.cumsum(np.array(counts) / max(sum(counts), 1)) for counts in (seen.live, seen.new)]
    return replace(seen, psi=psi(seen.live, seen.new), ks=float(np.abs(shares[0] - shares[1]).max()))


def _added(counts: tuple[int, ...], scores: Floats, edges: tuple[float, ...]) -> tuple[int, ...]:
    found, _ = counts_in(scores, edges)
    before = np.array(counts or (0,) * len(found))
    return tuple(int(count) for count in before + found)


def _scores(raw: bytes) -> Floats:
    return np.frombuffer(raw, dtype="<f4").astype(np.float64)


def _rows(side: dict[str, Half]) -> int:
    return sum(len(half.scores) for half in side.values()) // 4


def _place(pair: str) -> int:
    return zlib.crc32(pair.encode())
