"""Halves of pairs are found together whatever the order in which they are read; what has no other half is given up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.observation import Prediction
from conveyor.domain.shadow import Shadowed
from conveyor.monitoring.shadow import MOST_ROWS_WAITING, MOST_WAITING, Halves, compared, taken

SEEN = Shadowed("r/model.m", tolerance=0.1, edges=(0.25, 0.5, 0.75))


def _said(pair: int, score: float, mark: str = "", at: float = 100.0) -> Prediction:
    scores = np.array([score, 0.5], dtype="<f4").tobytes()
    return Prediction(str(pair), at, "m", 1, 2, b"", scores, mark=mark, pair=f"p/production/2 {pair}")


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(20)), cuts=st.lists(st.integers(0, 20), max_size=5))
def test_any_order_of_reading_gives_the_same_comparison(order: list[int], cuts: list[int]) -> None:
    both = [_said(n, n / 10) for n in range(10)] + [_said(n, n / 10 + 0.2 * (n < 4), "shadow") for n in range(10)]
    given_ = [both[n] for n in order]
    seen, halves, start = SEEN, Halves("r/model.m"), 0
    for stop in [*sorted(cuts), 20]:
        seen, halves = compared(seen, taken(halves, given_[start:stop]), 101.0)
        start = stop
    assert (seen.requests, seen.rows, seen.differing, seen.unanswered, seen.broken) == (10, 20, 4, 0, 0)
    assert abs(seen.difference - 0.4) < 1e-5
    assert abs(seen.largest - 0.2) < 1e-5
    assert sum(seen.live) == sum(seen.new) == 20
    assert not halves.live
    assert not halves.new


def test_nan_missing_and_too_many_are_told_apart() -> None:
    halves = taken(Halves("r/model.m"), [_said(1, 0.5), _said(1, float("nan"), "shadow"), _said(2, 0.1)])
    seen, halves = compared(SEEN, halves, 101.0)
    assert (seen.requests, seen.broken, seen.differing, seen.unanswered) == (1, 1, 1, 0)
    halves = taken(halves, [_said(3, 0.1, "shadow", at=106.0)])
    seen, halves = compared(seen, halves, 107.0)
    assert (seen.unanswered, list(halves.live)) == (1, [])
    halves = taken(Halves("r/model.m"), [_said(n, 0.5) for n in range(3 * MOST_WAITING)])
    assert len(halves.live) <= MOST_WAITING
    halves = taken(halves, [_said(n, 0.5, "shadow") for n in range(3 * MOST_WAITING)])
    seen, halves = compared(SEEN, halves, 101.0)
    assert 0 < seen.requests <= MOST_WAITING
    assert not halves.live, "the same ones were left out on both sides"
    assert seen.psi == seen.ks == 0
    large = [replace(_said(n, 0.5), rows=9_000, scores=bytes(36_000)) for n in range(100)]
    huge = replace(_said(7, 0.5), rows=20_000, scores=bytes(80_000), pair="p/production/2 huge")
    halves = taken(Halves("r/model.m"), [huge, *large])
    assert 0 < len(halves.live) <= MOST_ROWS_WAITING / 9_000
    assert huge.pair not in halves.live
