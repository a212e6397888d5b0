from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from conveyor.domain import statistics

CLASSIFICATION = {
    "average_precision": sk.average_precision_score,
    "roc_auc": sk.roc_auc_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
    "accuracy": lambda y, s: sk.accuracy_score(y, s >= 0.5),
    "f1": lambda y, s: sk.f1_score(y, s >= 0.5),
}
REGRESSION = {"rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score}


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize("digits", [1, 2, 9], ids=["heavy ties", "ties", "no ties"])
def test_classification_metrics_equal_sklearn(name, digits):
    random = np.random.default_rng(digits)
    for rows in (2, 10, 1000, 20000):
        y = (random.random(rows) < 0.1).astype(int)
        y[0], y[1] = 0, 1
        s = np.round(np.clip(random.beta(1, 8, rows) + 0.2 * y, 0, 1), digits)
        assert getattr(statistics, name)(y, s) == pytest.approx(CLASSIFICATION[name](y, s), abs=1e-12)


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_metrics_equal_sklearn(name):
    random = np.random.default_rng(1)
    y = random.normal(1e6, 3, 5000)
    s = y + random.normal(0, 2, 5000)
    assert getattr(statistics, name)(y, s) == pytest.approx(REGRESSION[name](y, s), rel=1e-12, abs=1e-12)
    assert statistics.r2([2.0, 2.0], [2.0, 2.0]) == sk.r2_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert statistics.r2([2.0, 2.0], [2.0, 2.5]) == sk.r2_score([2.0, 2.0], [2.0, 2.5]) == 0.0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9])), min_size=1, max_size=60))
@settings(deadline=None)
def test_ranked_metrics_equal_sklearn_on_any_ties(pairs):
    y, s = np.array([p[0] for p in pairs], dtype=int), np.array([p[1] for p in pairs])
    if y.any():
        assert statistics.average_precision(y, s) == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)
    if 0 < y.sum() < y.size:
        assert statistics.roc_auc(y, s) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
    else:
        assert math.isnan(statistics.roc_auc(y, s))


def test_what_is_undefined_is_nan_and_what_is_wrong_is_refused():
    assert math.isnan(statistics.average_precision([0, 0], [0.1, 0.2]))
    assert math.isnan(statistics.average_precision([0, 1], [0.1, np.nan]))
    assert math.isnan(statistics.mae([], []))
    with pytest.raises(ValueError, match="labels that are 0 or 1"):
        statistics.roc_auc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="shape"):
        statistics.roc_auc([0, 1], [0.1])
    with pytest.raises(ValueError, match="unknown metric 'kappa'; known: average_precision"):
        statistics.compute("kappa", [0, 1], [0, 1])


SKLEARN = CLASSIFICATION | REGRESSION


@pytest.mark.parametrize("name", statistics.METRICS)
def test_paired_bootstrap_equals_a_plain_one_on_the_same_draws(name):
    random = np.random.default_rng(5)
    rows, resamples = 400, 60
    y = (random.random(rows) < 0.3).astype(float)
    a, b = (np.round(np.clip(0.3 * y + random.random(rows) * k, 0.01, 0.99), 2) for k in (0.7, 0.9))
    got = statistics.paired_bootstrap(name, y, a, b, resamples=resamples, confidence=0.9, seed=11)

    draws = np.random.default_rng(11)
    plain = []
    for _ in range(resamples):
        i = draws.integers(0, rows, rows)
        plain.append(SKLEARN[name](y[i], a[i]) - SKLEARN[name](y[i], b[i]))
    expected = (SKLEARN[name](y, a) - SKLEARN[name](y, b), *np.percentile(plain, [5, 95]))
    assert got == pytest.approx(expected, abs=1e-10)
    assert got == statistics.paired_bootstrap(name, y, a, b, resamples=resamples, confidence=0.9, seed=11)


def test_bootstrap_agrees_with_scipy_on_other_draws():
    random = np.random.default_rng(2)
    y = random.normal(0, 1, 800)
    a, b = y + random.normal(0, 1, 800), y + random.normal(0, 1.2, 800)

    def difference(y, a, b, axis=-1):
        return np.abs(y - a).mean(axis=axis) - np.abs(y - b).mean(axis=axis)

    theirs = scipy_stats.bootstrap(
        (y, a, b), difference, paired=True, n_resamples=4000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    _, low, high = statistics.paired_bootstrap("mae", y, a, b, resamples=4000, confidence=0.95, seed=3)
    width = theirs.high - theirs.low
    assert abs(low - theirs.low) < 0.06 * width
    assert abs(high - theirs.high) < 0.06 * width


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    """AUC of N(1,1) against N(0,1) is Phi(1/sqrt 2); 90 % intervals hold it in 90 of 100 samples, give or take 4 sd."""
    random = np.random.default_rng(8)
    truth, held = float(scipy_stats.norm.cdf(1 / math.sqrt(2))), 0
    for seed in range(100):
        y = (np.arange(400) < 100).astype(float)
        _, low, high = statistics.bootstrap("roc_auc", y, random.normal(y), resamples=200, confidence=0.9, seed=seed)
        held += low <= truth <= high
    assert 78 <= held <= 99


def test_bootstrap_without_a_positive_is_no_evidence():
    point, low, high = statistics.paired_bootstrap("roc_auc", [0, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert math.isnan(point)
    assert (low, high) == (-math.inf, math.inf)


def test_psi_against_scipy_and_its_edges():
    reference, current = np.array([100, 300, 600]), np.array([200, 300, 500])
    p, q = (current + 0.5) / 1001.5, (reference + 0.5) / 1001.5
    symmetric = scipy_stats.entropy(p, q) + scipy_stats.entropy(q, p)
    assert statistics.psi(reference, current) == pytest.approx(symmetric, abs=1e-12)
    assert statistics.psi(reference, reference * 7) < 1e-4
    assert statistics.psi([10, 0], [0, 0]) == 0.0
    assert statistics.psi([10_000, 0], [5_000, 5_000]) > 1
    with pytest.raises(ValueError, match="2 and 3 bins"):
        statistics.psi([1, 2], [1, 2, 3])


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_psi_is_finite_symmetric_and_never_negative(a, b):
    value = statistics.psi(a, b)
    assert 0 <= value < math.inf
    assert value == pytest.approx(statistics.psi(b, a), abs=1e-12)


numbers = st.lists(
    st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, 1.0, -3.5]), st.just(math.nan)), min_size=0, max_size=80
)


@given(numbers, st.integers(2, 12))
@settings(deadline=None)
def test_a_profile_counts_every_value_once_in_the_bin_its_edges_name(values, bins):
    made = statistics.profile(values, bins=bins)
    assert len(made.counts) == len(made.edges) + 1
    assert list(made.edges) == sorted(set(made.edges))
    assert made.rows == len(values)
    bounds = [-math.inf, *made.edges, math.inf]
    finite = [v for v in values if math.isfinite(v)]
    assert list(made.counts) == [sum(low < v <= high for v in finite) for low, high in itertools.pairwise(bounds)]
    again = statistics.profile(values, edges=made.edges)
    assert (again.counts, again.nulls) == (made.counts, made.nulls)


def test_profile_of_quantiles_ties_constants_and_nulls():
    random = np.random.default_rng(0)
    normal = statistics.profile(random.normal(5, 2, 50_000))
    assert len(normal.edges) == 9
    assert max(normal.counts) - min(normal.counts) < 100
    assert (normal.mean, normal.std) == pytest.approx((5, 2), abs=0.05)

    flag = statistics.profile((random.random(10_000) < 0.95).astype(float))
    flipped = statistics.counts_in((random.random(5_000) < 0.60).astype(float), flag.edges)[0]
    assert statistics.psi(flag.counts, flipped) > 0.5, "a flag that is nearly always 1 must show when it turns 0"

    constant = statistics.profile(np.full(1000, 7.25))
    assert constant.constant
    for other in (7.0, 8.0):
        assert statistics.psi(constant.counts, statistics.counts_in([other] * 500, constant.edges)[0]) > 1
    assert statistics.psi(constant.counts, statistics.counts_in([7.25] * 500, constant.edges)[0]) < 1e-3

    holes = statistics.profile([1.0, math.nan, 2.0, math.inf])
    assert (holes.nulls, sum(holes.counts), holes.max) == (2, 2, 2.0)
    assert statistics.profile([math.nan] * 3).counts == (0,)


def test_spread_knows_what_a_calendar_does_to_a_window():
    day = np.arange(60_000) // 9_500
    weekend = ((day % 7) >= 5).astype(float)
    steady = np.random.default_rng(0).random(60_000)
    assert min(psi for _, psi in statistics.profile(weekend).spread) > 0.5
    assert [size for size, _ in statistics.profile(steady).spread] == [500, 1000, 2000, 5000, 10_000, 20_000]
    assert statistics.profile(steady).stray(5000) < 0.02
    assert statistics.profile(steady[:999]).spread == (), "one block says nothing"
    one = steady[:4000].reshape(8, 500)
    made = statistics.profile(steady[:4000])
    plain = [statistics.psi([*made.counts, 0], [*statistics.counts_in(part, made.edges)[0], 0]) for part in one]
    assert made.stray(500) == pytest.approx(max(plain), abs=1e-12)
