from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from conveyor.domain import statistics
from conveyor.domain.measures import paired
from conveyor.domain.measures.binormal import Pair
from conveyor.domain.measures.multiple import holm

PAIR = Pair(positives=0.15, live=1.5, candidate=1.7)


def drawn(rows: int = 1500, pair: Pair = PAIR, seed: int = 1):
    return pair.draw(np.random.default_rng(seed), rows)


@pytest.mark.parametrize("metric", ["average_precision", "brier", "f1"])
def test_the_paired_bootstrap_agrees_with_scipys(metric):
    """scipy.stats.bootstrap draws rows of (truth, candidate, live) together and has the metric from scikit-learn."""
    truth, candidate, live, _ = drawn()
    if metric == "brier":
        candidate, live = (1 / (1 + np.exp(-3 * each)) for each in (candidate, live))
    by = {
        "average_precision": sk.average_precision_score,
        "brier": sk.brier_score_loss,
        "f1": lambda y, s: sk.f1_score(y, s >= 0.5),
    }[metric]
    ours = statistics.paired_bootstrap(metric, truth, candidate, live, resamples=2000, confidence=0.9)
    theirs = stats.bootstrap(
        (truth, candidate, live), lambda y, a, b: by(y, a) - by(y, b), paired=True, vectorized=False,
        n_resamples=600, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2),
    )  # fmt: skip
    low, high = theirs.confidence_interval
    width = high - low
    assert ours[0] == pytest.approx(by(truth, candidate) - by(truth, live), abs=1e-12)
    assert ours[1] == pytest.approx(low, abs=0.12 * width)
    assert ours[2] == pytest.approx(high, abs=0.12 * width)


def test_the_bootstrap_of_groups_is_the_plain_one_written_out():
    pair = Pair(positives=0.2, live=1.5, candidate=1.7, per_group=7, shared=0.5)
    truth, candidate, live, groups = drawn(1400, pair)
    shuffled = np.random.default_rng(3).permutation(len(truth))
    truth, candidate, live, groups = (each[shuffled] for each in (truth, candidate, live, groups))
    found = paired.difference(
        "average_precision", truth, candidate, live, resamples=300, confidence=0.95, seed=4, groups=groups
    )
    random, plain = np.random.default_rng(5), []
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    for _ in range(300):
        rows = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        plain.append(
            sk.average_precision_score(truth[rows], candidate[rows])
            - sk.average_precision_score(truth[rows], live[rows])
        )
    low, high = np.quantile(plain, [0.025, 0.975])
    assert (found.method, found.groups, found.resamples) == ("bootstrap of groups", 200, 300)
    assert found.low == pytest.approx(low, abs=0.2 * (high - low))
    assert found.high == pytest.approx(high, abs=0.2 * (high - low))


def test_delong_is_the_variance_of_all_pairs_written_out():
    """Independent: the covariance of V10 and V01 from every pair of rows, ties counting half (DeLong et al. 1988)."""
    truth, candidate, live, _ = drawn(400)
    candidate, live = np.round(candidate, 1), np.round(live, 1)
    point, low, high = paired.delong(truth, candidate, live, 0.95)
    first, second = [], []
    for scores in (candidate, live):
        positive, negative = scores[truth == 1][:, None], scores[truth == 0][None, :]
        above = (positive > negative) + 0.5 * (positive == negative)
        first.append(above.mean(axis=1))
        second.append(above.mean(axis=0))
    s10, s01 = np.cov(first), np.cov(second)
    covariance = s10 / len(first[0]) + s01 / len(second[0])
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert point == pytest.approx(sk.roc_auc_score(truth, candidate) - sk.roc_auc_score(truth, live), abs=1e-12)
    assert (low, high) == pytest.approx((point - 1.959964 * error, point + 1.959964 * error), abs=1e-7)
    boot = statistics.paired_bootstrap("roc_auc", truth, candidate, live, resamples=2000)
    assert (low, high) == pytest.approx(boot[1:], abs=0.15 * (high - low))


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.9, 0.95, 0.99]))
def test_mcnemars_interval_is_scipys_exact_binomial(wins, losses, confidence):
    truth = np.ones(wins + losses + 40)
    candidate = np.concatenate([np.ones(wins), np.zeros(losses), np.ones(40)])
    live = np.concatenate([np.zeros(wins), np.ones(losses), np.ones(40)])
    point, low, high = paired.mcnemar(truth, candidate, live, confidence)
    assert point == pytest.approx(sk.accuracy_score(truth, candidate) - sk.accuracy_score(truth, live))
    if wins + losses == 0:
        assert (low, high) == (0.0, 0.0)
        return
    exact = stats.binomtest(wins, wins + losses)
    share = exact.proportion_ci(confidence, method="exact")
    scale = (wins + losses) / len(truth)
    assert (low, high) == pytest.approx(((2 * share.low - 1) * scale, (2 * share.high - 1) * scale), abs=1e-9)
    one_sided = stats.binomtest(wins, wins + losses, alternative="greater").pvalue
    if abs(one_sided - (1 - confidence) / 2) > 1e-9:
        assert (low > 0) == (one_sided < (1 - confidence) / 2), "better is what McNemar's exact test says"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_by_its_definition(p_values):
    adjusted = holm(p_values)
    ordered = sorted(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        rank = ordered.index(p)
        assert found == pytest.approx(
            max(min(1.0, (len(ordered) - i) * ordered[i]) for i in range(rank + 1)), abs=1e-12
        )


def test_without_evidence_there_is_no_interval():
    assert paired.delong(np.array([1.0, 0.0, 0.0]), np.arange(3.0), np.arange(3.0))[1:] == (-math.inf, math.inf)
    assert paired.mcnemar(np.ones(2), np.array([1.0, math.nan]), np.ones(2))[1:] == (-math.inf, math.inf)
    truth, candidate, _, _ = drawn(50)
    same = paired.difference("average_precision", truth, candidate, candidate, resamples=50, confidence=0.9, seed=1)
    assert (same.point, same.low, same.high) == (0.0, 0.0, 0.0)
