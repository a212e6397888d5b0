from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.measures.maturity import mature_age, quantile


def test_delays_that_were_cut_off_are_allowed_for() -> None:
    random = np.random.default_rng(0)
    ages, delays = random.uniform(0, 60, 40_000), random.exponential(5, 40_000)
    seen = delays <= ages
    true = float(np.quantile(random.exponential(5, 1_000_000), 0.9))
    assert quantile(delays[seen], ages[seen], 0.9) == pytest.approx(true, rel=0.05)
    young = ages < 6  # what is seen of young ones alone is far too quick
    assert float(np.quantile(delays[seen & young], 0.9)) < 0.5 * true


@given(st.lists(st.floats(0, 100), min_size=1, max_size=100), st.floats(0.5, 1))
def test_without_truncation_it_is_the_ordinary_quantile(delays: list[float], share: float) -> None:
    values = np.array(delays)
    found = quantile(values, np.full(len(values), 1000.0), share)
    assert np.mean(values <= found) >= share - 1e-9
    assert np.mean(values < found) <= share + 1e-9


def test_the_slowest_class_decides_and_little_evidence_means_the_horizon() -> None:
    random = np.random.default_rng(1)
    ages = random.uniform(0, 100, 20_000)
    slow = random.random(20_000) < 0.3
    delays = random.exponential(np.where(slow, 4.0, 2.0))
    seen, classes = delays <= ages, np.where(slow, "1", "0")
    horizon = timedelta(seconds=60)
    age = mature_age(delays[seen], ages[seen], classes[seen].tolist(), horizon).total_seconds()
    assert age == pytest.approx(4 * np.log(100), rel=0.15)
    young = seen & (ages < 50)
    assert mature_age(delays[young], ages[young], classes[young].tolist(), horizon) == horizon
    few = [*["0"] * 100, *["1"] * 10]
    assert mature_age([1.0] * 110, [100.0] * 110, few, horizon) == horizon
    assert mature_age([], [], [], horizon) == horizon
