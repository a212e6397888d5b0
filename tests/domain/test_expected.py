"""The estimate without labels: equal to the mean over all labellings, right where scores mean what they did, and only
then; a signal only past its own error."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain import estimated_decay, wire
from conveyor.domain.estimate import Calibrator, Estimate, Expectation
from conveyor.domain.measures import expected
from conveyor.domain.monitor import SignalKind, Window
from conveyor.domain.project import MonitorConfig
from conveyor.domain.statistics import compute

METRICS = ("roc_auc", "average_precision", "accuracy", "f1", "log_loss", "brier")


def draw(rows: int, seed: int, shift: float = 0.0, slope: float = 1.0):
    """Scores that are probabilities of their labels; `shift` moves the rows, a `slope` of 0 ends what they mean."""
    random = np.random.default_rng(seed)
    x = random.normal(-2.0 + shift, 1.5, rows)
    truth = (random.random(rows) < 1 / (1 + np.exp(-(slope * x - (1 - slope))))).astype(float)
    return truth, (1 / (1 + np.exp(-x))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_it_is_right_where_only_the_rows_change(metric):
    truth, scores = draw(20_000, 1)
    by = expected.calibrator(truth, scores)
    assert by is not None
    assert len(by.edges) <= expected.BLOCKS
    assert wire.from_json(wire.to_json(by), Calibrator) == by
    own = expected.estimate(metric, expected.tally(scores, by.edges), by)
    assert own is not None
    assert own.value == pytest.approx(compute(metric, truth, scores), abs=2e-3)
    held, missed = 0, []
    for seed in range(20):
        truth, scores = draw(5_000, 100 + seed, shift=0.8)
        found = expected.estimate(metric, expected.tally(scores, by.edges), by)
        value = compute(metric, truth, scores)
        held += found.low <= value <= found.high
        missed.append(abs(found.value - value))
    assert held >= 14
    assert np.mean(missed) < 0.02
    assert np.mean(missed) < abs(own.value - value) or metric in ("accuracy", "roc_auc")


def test_it_is_the_mean_over_all_labellings():
    """Of pairs and of the confusion matrix: by adding up what every labelling of six rows has, by its probability."""
    edges, p = (0.1, 0.3, 0.49999997, 0.7), np.array([0.1, 0.2, 0.35, 0.6, 0.9])
    by = Calibrator(edges, (1000.0,) * 5, tuple(p * 1000), dict.fromkeys(METRICS, 0.0))
    scores = np.array([0.05, 0.2, 0.2, 0.4, 0.6, 0.8])
    rates = np.array([0.1, 0.2, 0.2, 0.35, 0.6, 0.9])
    sums = dict.fromkeys(METRICS, 0.0)
    for labels in product((0.0, 1.0), repeat=6):
        truth = np.array(labels)
        chance = float(np.prod(np.where(truth == 1.0, rates, 1.0 - rates)))
        for metric in ("accuracy", "log_loss", "brier"):
            sums[metric] += chance * compute(metric, truth, scores)
    for metric in ("accuracy", "log_loss", "brier"):
        found = expected.estimate(metric, expected.tally(scores, edges), by)
        assert found.value == pytest.approx(sums[metric], abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=40), st.data())
def test_rates_rise_and_tallies_merge(blocks, data):
    edges = tuple(float(n) for n in np.linspace(0.01, 0.99, len(blocks) - 1))
    by = Calibrator(edges, tuple(float(a + b) for a, b in blocks), tuple(float(a) for a, _ in blocks))
    rates = expected.rates(by)
    assert rates.size == len(blocks)
    assert (np.diff(rates) >= -1e-12).all()
    assert float(rates @ np.array(by.rows)) == pytest.approx(sum(by.positives))
    scores = data.draw(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60))
    cut = data.draw(st.integers(0, len(scores)))
    merged = expected.tally(scores[:cut], edges).merge(expected.tally(scores[cut:], edges))
    whole = expected.tally(scores, edges)
    assert merged.counts == whole.counts
    np.testing.assert_allclose(merged.losses["brier"], whole.losses["brier"], atol=1e-9)


def test_what_cannot_be_told_is_not_told():
    truth, scores = draw(3_000, 2)
    by = expected.calibrator(truth, scores)
    assert expected.calibrator(truth[:20], scores[:20]) is None
    known = expected.tally(scores, by.edges)
    assert expected.estimate("rmse", known, by) is None
    assert expected.estimate("roc_auc", expected.tally([], by.edges), by) is None
    logits = expected.calibrator(truth, np.log(scores / (1 - scores)))
    margins = expected.tally(np.log(scores / (1 - scores)), logits.edges)
    assert expected.estimate("log_loss", margins, logits) is None
    auc = expected.estimate("roc_auc", margins, logits).value
    assert auc == pytest.approx(expected.estimate("roc_auc", known, by).value, abs=5e-3)


def test_labels_renew_what_scores_mean():
    """Concept drift: scores mean less than they did. The estimate does not see it; labels that come teach it."""
    by = expected.calibrator(*draw(10_000, 3))
    later = [draw(5_000, 10 + n, slope=0.3) for n in range(6)]
    truth = [compute("roc_auc", *each) for each in later]
    stale = [expected.estimate("roc_auc", expected.tally(s, by.edges), by).value for _, s in later]
    renewed, learned = by, []
    for (labels, scores), _ in zip(later, truth, strict=True):
        learned.append(expected.estimate("roc_auc", expected.tally(scores, by.edges), renewed).value)
        renewed = expected.renewed(renewed, labels, scores)
    assert min(stale) - max(truth) > 0.1
    assert learned[0] == stale[0]
    assert abs(learned[-1] - truth[-1]) < 0.03
    assert sum(renewed.rows) < 2.1 * renewed.memory
    assert expected.renewed(by, [0.0, 1.0], [0.1, 0.9]) == by


def test_a_signal_needs_two_windows_beyond_the_error_of_past_estimates():
    config, by = MonitorConfig(decay=0.1), Calibrator((0.5,), (1.0, 1.0), (0.0, 1.0))
    known = Expectation("shop/fraud@3", "shop/fraud", by)
    calm = Window("shop/fraud@3#1", "shop/fraud", 3, 1, 5000, {}, None, 0, 0.1)
    low = replace(calm, estimate=Estimate("roc_auc", 0.70, 0.68, 0.72))
    known, first = estimated_decay.judge(known, low, 0.9, config)
    assert (first, known.low) == (None, 1)
    assert (
        estimated_decay.judge(known, replace(low, estimate=Estimate("roc_auc", 0.8, 0.7, 0.82)), 0.9, config)[0].low
        == 0
    )
    known, signal = estimated_decay.judge(known, low, 0.9, config)
    assert signal is not None
    assert (signal.kind, signal.figures["windows"]) == (SignalKind.ESTIMATED_DECAY, 2.0)
    assert (
        "estimated at 0.7000 in window 1 (95% interval 0.6800 to 0.7200), against 0.9000 on its holdout"
        in signal.message
    )
    for error in (0.12, -0.08):
        known = estimated_decay.compared(known, error)
    assert known.uncertainty == pytest.approx(0.1)
    assert estimated_decay.judge(known, low, 0.9, config) == (replace(known, low=0), None)
    assert estimated_decay.judge(known, calm, 0.9, config) == (known, None)
    loss = replace(calm, estimate=Estimate("log_loss", 0.5, 0.45, 0.6))
    rising = Expectation("x", "m", by, low=1)
    assert estimated_decay.judge(rising, loss, 0.3, config)[1] is not None
    assert estimated_decay.judge(rising, loss, 0.42, config)[1] is None
