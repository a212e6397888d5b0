"""Calibration, fairness and the search for slices, on data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conveyor.domain.gates.config import FairnessGate
from conveyor.domain.measures import fairness, found_slices
from conveyor.domain.measures.calibration import calibration


def test_a_calibrated_model_is_told_from_one_that_is_sure_of_itself():
    over = under = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        p = random.beta(1, 4, 800)
        found = calibration((random.random(800) < p).astype(float), p, seed)
        over += found.ece > found.chance
        bold = calibration((random.random(800) < p).astype(float), np.clip(1.6 * p, 0, 1), seed)
        under += bold.ece <= bold.chance
    assert over <= 8, "95 of 100 calibrated models stay under chance"
    assert under == 0
    assert calibration(np.ones(20), np.full(20, 1.2), 0) is None


def test_ece_and_spiegelhalter_written_out():
    random = np.random.default_rng(1)
    p = random.permutation(np.linspace(0.01, 0.9, 300))
    y = (random.random(300) < p).astype(float)
    found = calibration(y, p, 0)
    order = np.argsort(p)
    bins = np.split(order, 15)
    assert found.ece == pytest.approx(np.mean([abs(y[b].mean() - p[b].mean()) for b in bins]))
    assert found.brier == pytest.approx(np.mean((y - p) ** 2))
    expected, variance = (p * (1 - p)).mean(), ((1 - 2 * p) ** 2 * p * (1 - p)).sum() / 300**2
    z = (found.brier - expected) / math.sqrt(variance)
    assert found.z == pytest.approx(z)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_wilsons_interval_is_scipys_and_newcombes_holds_the_difference(hits, more, other, rest):
    rows, others = hits + more, other + rest
    share = stats.binomtest(hits, rows).proportion_ci(0.9, method="wilson")
    assert fairness.wilson(hits, rows, 0.9) == pytest.approx((share.low, share.high), abs=1e-9)
    low, high = fairness.newcombe((hits, rows), (other, others), 0.9)
    assert low <= hits / rows - other / others <= high


def test_newcombes_published_example():
    """Newcombe 1998, table II, row (a), method 10: 56/70 against 48/80 gives 0.0524 to 0.3339."""
    assert fairness.newcombe((56, 70), (48, 80), 0.95) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_rates_by_group_are_counts():
    y = np.array([1.0] * 60 + [0.0] * 60)
    s = np.concatenate([np.ones(30), np.zeros(30), np.ones(6), np.zeros(54)])
    groups = (["a"] * 25 + ["b"] * 25 + ["few"] * 10) * 2
    found = fairness.fairness(FairnessGate("who", "tpr", 0.1), y, s, groups, 0.95)
    assert found.rates == {"a": 25 / 25, "b": 5 / 25}
    assert found.rows == {"a": 25, "b": 25, "few": 10}
    assert found.gap == pytest.approx(0.8)
    assert 0.5 < found.low < 0.8 < found.high
    taken = fairness.fairness(FairnessGate("who", "fpr", 0.1), y, s, groups, 0.95)
    assert taken.rates == {"a": 6 / 25, "b": 0.0}


def losses(seed: int, rows: int = 3000, worse: float = 1.0):
    """Losses of two equal models, but for the candidate's on rows with zone 2 and a large amount."""
    random = np.random.default_rng(seed)
    zone, amount, day = (random.integers(0, n, rows) for n in (4, 5, 7))
    columns = {
        name: found_slices.Column(values, [f"= {value}" for value in range(int(values.max()) + 1)])
        for name, values in (("zone", zone), ("amount", amount), ("day", day))
    }
    common = random.exponential(0.2, rows)
    candidate, live = common * random.uniform(0.8, 1.2, rows), common * random.uniform(0.8, 1.2, rows)
    candidate[(zone == 2) & (amount == 4)] *= worse
    return columns, candidate, live, np.arange(rows)


def test_a_bad_slice_is_found_and_its_name_is_told():
    columns, candidate, live, units = losses(1, worse=2.0)
    found = found_slices.find(columns, candidate, live, rise=0.1, units=units, seed=3)
    best = min(found, key=lambda one: one.p_value)
    assert set(best.name.split(" and ")) == {"zone = 2", "amount = 4"}
    assert best.p_value < 1e-4
    assert best.candidate > 1.5 * best.live


def test_where_there_is_none_a_search_seldom_finds_one():
    """The rise of 0 makes it the hardest case: equal losses. Alpha 0.05 over all tested slices together."""
    wrong = 0
    for seed in range(150):
        columns, candidate, live, units = losses(seed, rows=800)
        found = found_slices.find(columns, candidate, live, rise=0.0, units=units, seed=seed)
        wrong += any(one.p_value < 0.05 for one in found)
    assert wrong <= 15  # 7.5 expected; more than 15 has a chance of 0.4 %
