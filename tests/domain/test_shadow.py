"""A shadow's figures judged: what must be given up is, what is fine is not, and looking often changes nothing."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from conveyor.domain.project import Abort
from conveyor.domain.shadow import Shadowed, diverged

BOUND = Abort(divergence=0.1)


def _given_up(draw: Random, mean: float, requests: int = 500) -> int:
    """After how many requests, looked at after each; 0: never. Differences are uniform up to twice the mean."""
    seen = Shadowed("p/production/2/model.m")
    for number in range(1, requests + 1):
        apart = min(1.0, draw.random() * 2 * mean)
        seen = replace(seen, requests=number, rows=number, difference=seen.difference + apart)
        if diverged(seen, BOUND, requests):
            return number
    return 0


def test_divergence_is_found_early_and_agreement_is_left_alone() -> None:
    draw = Random(7)
    assert not any(_given_up(draw, 0.05) for _ in range(100))
    assert sum(bool(_given_up(draw, 0.093)) for _ in range(100)) <= 5
    found = [_given_up(draw, 0.3) for _ in range(100)]
    assert 20 <= min(found) <= max(found) < 100


def test_broken_and_missing_answers_end_it_but_not_one_alone() -> None:
    seen = Shadowed("x", requests=100, rows=100)
    assert diverged(replace(seen, broken=1), Abort(), 500) == diverged(replace(seen, unanswered=1), Abort(), 500) == ""
    assert "NaN" in diverged(replace(seen, broken=20), Abort(), 500)
    assert "did not answer 20 of 120" in diverged(replace(seen, unanswered=20), Abort(), 500)
    few = Shadowed("x", requests=10, rows=10, difference=9.0)
    assert diverged(few, BOUND, 5) == "", "fewer than min_requests say nothing"
    many = replace(few, requests=500, rows=500, difference=450.0)
    assert diverged(many, Abort(), 500) == "", "no bound, no verdict"
    assert "by 0.9 on the mean (bound 0.1)" in diverged(many, BOUND, 500)
