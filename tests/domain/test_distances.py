"""Distances between distributions: SciPy's to nine digits where they are exact, within 1 % of rank where stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import spatial, stats

from conveyor.domain.measures import histograms, samples, tails
from conveyor.domain.measures.against import against
from conveyor.domain.measures.multiple import benjamini_hochberg
from conveyor.domain.measures.profile import coarse, counts_in, profile

EXACT = 1e-9
counts = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), min_size=2, max_size=40)
values = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6)), min_size=2, max_size=700)


@given(counts)
def test_distances_of_histograms_are_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    assume(first.sum() and second.sum())
    expected = spatial.distance.jensenshannon(first, second, base=2)
    # near 0 the root makes 1e-16 of either into 1e-8
    assert histograms.jensen_shannon(first, second) ** 2 == pytest.approx(np.nan_to_num(expected) ** 2, abs=1e-12)
    some = first + second > 0
    if some.sum() > 1:
        said = stats.chi2_contingency(np.vstack([first, second])[:, some], correction=False)
        assert histograms.chi_square(first, second) == pytest.approx((said.statistic, said.dof), rel=EXACT)
        assert histograms.homogeneity(first, second) == pytest.approx(said.pvalue, abs=EXACT, rel=1e-6)


@given(values, values)
@settings(deadline=None)
def test_distances_of_samples_are_scipys(first: list[float], second: list[float]) -> None:
    a, b = np.sort(np.array(first)), np.sort(np.array(second))
    assert samples.ks(a, b) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=EXACT)
    assert samples.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=EXACT, abs=EXACT)


@pytest.mark.parametrize("rows", [(50_000, 50_000), (30_011, 70_001), (200_000, 300)])
@pytest.mark.parametrize("move", [0.0, 0.02, 1.0, 9.0])
def test_large_samples_in_which_most_stretches_are_passed_over(rows: tuple[int, int], move: float) -> None:
    random = np.random.default_rng(3)
    for make in (random.normal, lambda size: random.integers(0, 40, size).astype(float)):
        a, b = np.sort(make(size=rows[0])), np.sort(make(size=rows[1]) + move)
        assert samples.ks(a, b) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=EXACT)
        assert samples.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=EXACT)


@given(st.floats(0, 3000), st.integers(1, 400))
def test_the_tail_of_chi_square_is_scipys(value: float, degrees: int) -> None:
    assert tails.chi_square_tail(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), abs=EXACT, rel=1e-6)


def test_tails_at_their_ends_and_kolmogorovs() -> None:
    for value in np.linspace(0.05, 4, 80):
        assert tails.kolmogorov_tail(value) == pytest.approx(stats.kstwobign.sf(value), abs=EXACT)
    assert tails.chi_square_tail(1e9, 3) == 0.0
    assert tails.chi_square_tail(0.0, 3) == tails.chi_square_tail(5.0, 0) == tails.kolmogorov_tail(0.0) == 1.0
    exact = stats.ks_2samp(np.arange(500), np.arange(500) + 40.0, method="exact")
    assert tails.ks_tail(exact.statistic, 500, 500) == pytest.approx(exact.pvalue, rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_false_discovery_rate_is_controlled_as_scipy_does(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values, method="bh"))


SHAPES = {
    "normal": lambda random, size: random.normal(3, 2, size),
    "lognormal": lambda random, size: random.lognormal(3, 1, size),
    "counts": lambda random, size: random.poisson(2, size).astype(float),
    "often zero": lambda random, size: np.where(random.random(size) < 0.7, 0.0, random.random(size)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1.1, 1.7])
def test_a_stored_profile_is_within_one_percent_of_rank_of_the_rows(shape: str, scale: float) -> None:
    random = np.random.default_rng(11)
    reference = SHAPES[shape](random, 40_000).astype(np.float32).astype(float)
    current = (scale * SHAPES[shape](random, 9_000)).astype(np.float32).astype(float)
    current = np.rint(current) if shape == "counts" else current
    stored = profile(reference)
    counted, nulls = counts_in(current, stored.grid)
    found = against(stored, counted.tolist(), nulls, float(current.min()), float(current.max()))
    assert found.ks == pytest.approx(stats.ks_2samp(reference, current).statistic, abs=0.01)
    apart = stats.wasserstein_distance(reference, current) / reference.std()
    assert found.wasserstein == pytest.approx(apart, rel=0.1, abs=0.02)
    assert coarse(stored, counted.tolist()).tolist() == counts_in(current, stored.edges)[0].tolist()
    assert sum(stored.grid_counts) == sum(stored.counts) == 40_000
    assert stored.values == (shape == "counts")


def test_what_the_reference_never_had_is_counted() -> None:
    random = np.random.default_rng(2)
    codes = profile(random.choice([1.0, 2.0, 4.0, 7.0], 5_000))

    def said(current: list[float]) -> tuple[float, float, float]:
        counted, nulls = counts_in(current, codes.grid)
        found = against(codes, counted.tolist(), nulls, min(current), max(current))
        return found.new, found.outside, found.extreme

    assert said([1.0, 2.0, 4.0, 7.0]) == (0.0, 0.0, 0.0)
    assert said([1.0, 3.0, 4.0, 5.5]) == (0.5, 0.0, 0.0), "between the values that there were"
    assert said([1.0, 0.0, 8.0, 9.0]) == (0.0, 0.75, 0.0)
    assert said([1.0, 700.0, -400.0, 7.0]) == (0.0, 0.5, 0.5)
    assert profile(random.normal(size=300)).values is False


def test_windows_of_a_steady_feature_are_dispersed_as_chance_has_it_and_of_a_calendar_much_more() -> None:
    random = np.random.default_rng(5)
    assert profile(random.normal(size=60_000)).dispersed(2000) == pytest.approx(1.0, abs=0.25)
    assert profile(random.poisson(2, 60_000)).dispersed(2000) == pytest.approx(1.0, abs=0.25)
    weekend = (np.arange(60_000) // 8_000 % 7 >= 5).astype(float)
    assert profile(weekend).dispersed(2000) > 100
