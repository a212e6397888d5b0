"""The canary's analysis, by simulation: how often it gives up a good version, and how often it lets a bad one through.

Requests come one by one and the test is made after each, up to the stated size: the worst case for a test that is
looked at again and again.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.analysis import ALPHA, FEWEST_ERRORS, Share, Verdict, compare, evidence, interval, needed

TRIALS = 1000
TOLERATED, REGRESSION = 0.01, 0.04
LOOKS = 3
"""Canary steps of a rollout: the bound on false aborts is for all of them together."""


def _verdict(rng: np.random.Generator, live_rate: float, new_rate: float, requests: int, share: float) -> Verdict:
    """One canary step: `share` of the requests goes to the new version; the first verdict that is not unsure."""
    new = rng.random(requests) < share
    bad = rng.random(requests) < np.where(new, new_rate, live_rate)
    counts = np.stack([np.cumsum(new & bad), np.cumsum(new), np.cumsum(~new & bad), np.cumsum(~new)], axis=1)
    for new_bad, new_total, live_bad, live_total in counts[new].tolist():
        verdict = compare(Share(new_bad, new_total), Share(live_bad, live_total), TOLERATED, REGRESSION, LOOKS)
        if verdict is not Verdict.INSUFFICIENT:
            return verdict
    return Verdict.INSUFFICIENT


def _shares(live: float, new: float, requests: int, share: float) -> dict[Verdict, float]:
    rng = np.random.default_rng(20260101)
    found = [_verdict(rng, live, new, requests, share) for _ in range(TRIALS)]
    return {verdict: found.count(verdict) / TRIALS for verdict in Verdict}


@pytest.mark.parametrize("live", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_version_no_worse_than_the_live_one_is_seldom_given_up(live: float, share: float) -> None:
    """5000 requests, of which the canary answers a tenth or a half: at most 5 % over a rollout of LOOKS steps."""
    found = _shares(live, live, 5000, share)
    assert 1 - (1 - found[Verdict.FAIL]) ** LOOKS <= ALPHA
    assert found[Verdict.PASS] >= 0.85


@pytest.mark.parametrize(("live", "new"), [(0.01, 0.05), (0.0, 0.05), (0.01, 0.2)])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_regression_is_seldom_missed(live: float, new: float, share: float) -> None:
    """From an error rate of 1 % to 5 %, 5000 requests: at most 5 % pass, and what does not pass fails."""
    found = _shares(live, new, 5000, share)
    assert found[Verdict.PASS] <= 0.05
    assert found[Verdict.FAIL] >= 0.93


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05])
def test_ten_requests_a_minute_are_no_evidence(rate: float) -> None:
    """Ten minutes of that at a canary share of 5 %: about five requests, from which nothing is guessed."""
    found = _shares(rate, rate, 100, 0.05)
    assert found[Verdict.INSUFFICIENT] >= 0.99
    assert found[Verdict.PASS] == 0


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5000), st.integers(0, 5000))
def test_more_bad_answers_never_speak_for_a_version(bad: int, good: int, live_bad: int, live_good: int) -> None:
    new, live = Share(bad, bad + good), Share(live_bad, live_bad + live_good)
    worse = Share(bad + 1, bad + good + 1)
    order = [Verdict.PASS, Verdict.INSUFFICIENT, Verdict.FAIL]
    verdict = compare(new, live, TOLERATED, REGRESSION)
    assert order.index(compare(worse, live, TOLERATED, REGRESSION)) >= order.index(verdict)
    assert evidence(worse, 0.01, 0.04) > evidence(new, 0.01, 0.04)
    assert verdict is not Verdict.FAIL or bad >= FEWEST_ERRORS
    if live.total:
        low, high = interval(live)
        assert 0.0 <= low <= live.rate + 1e-12 <= high + 1e-9


def test_how_many_answers_are_needed() -> None:
    least = needed(TOLERATED, REGRESSION)
    assert compare(Share(0, least), Share(0, 0), TOLERATED, REGRESSION) is Verdict.PASS
    assert compare(Share(0, least - 2), Share(0, 0), TOLERATED, REGRESSION) is Verdict.INSUFFICIENT
