"""How often the gates err, on holdouts whose truth is known. docs/gates.md has the table; bench/gates.py makes it."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor.domain import statistics
from conveyor.domain.evaluation import Comparison, Evaluation
from conveyor.domain.gate import Outcome
from conveyor.domain.gates.config import MetricGate
from conveyor.domain.gates.versus_live import versus_live
from conveyor.domain.measures import paired
from conveyor.domain.measures.binormal import Pair, true_value, worse_by

MARGIN = 0.03
EQUAL = Pair(positives=0.15, live=1.5, candidate=1.5)


def share_that_passes(
    pair: Pair, metric: str, rule: str, rows: int, *, grouped: bool = False, candidates: int = 1000
) -> float:
    gate = MetricGate(versus_live=rule, margin=MARGIN)
    passed = 0
    for seed in range(candidates):
        truth, candidate, live, groups = pair.draw(np.random.default_rng(seed), rows)
        found = paired.difference(
            metric, truth, candidate, live, resamples=120, confidence=0.95, seed=seed,
            groups=groups if grouped else None,
        )  # fmt: skip
        comparison = Comparison(
            3, None, None, found.point, found.low, found.high, 0.95, found.resamples, found.method, found.groups
        )
        evaluation = Evaluation(metric, 0.5, rows, int(truth.sum()), {}, None, {}, 0.0, 0, comparison)
        passed += versus_live(gate, evaluation).outcome is Outcome.PASS
    return passed / candidates


@pytest.mark.parametrize("metric", ["average_precision", "roc_auc", "accuracy"])
def test_of_candidates_no_better_than_live_few_pass_better_and_of_worse_ones_few_pass_not_worse(metric):
    """Alpha is 0.05 at a confidence of 0.95: an interval with two sides errs half as often on each of them."""
    assert share_that_passes(EQUAL, metric, "better", 500) <= 0.05
    worse = worse_by(EQUAL, metric, MARGIN)
    assert share_that_passes(worse, metric, "not_worse", 500) <= 0.05


def test_groups_must_be_drawn_as_wholes_where_rows_depend_on_each_other():
    """Rows of one customer counted as so many customers pass far more often than is stated; groups do not."""
    of_customers = Pair(positives=0.2, live=1.5, candidate=1.5, per_group=20, shared=0.9)
    assert share_that_passes(of_customers, "f1", "better", 1600, candidates=300) > 0.2
    assert share_that_passes(of_customers, "f1", "better", 1600, grouped=True, candidates=300) <= 0.05


def test_the_simulated_truth_is_the_metrics_own():
    random = np.random.default_rng(1)
    truth, candidate, live, _ = worse_by(EQUAL, "average_precision", 0.05).draw(random, 1_000_000)
    measured = statistics.average_precision(truth, live) - statistics.average_precision(truth, candidate)
    assert measured == pytest.approx(0.05, abs=0.004)
    for metric in ("average_precision", "roc_auc", "accuracy"):
        known = true_value(metric, EQUAL.positives, EQUAL.live, EQUAL.live)
        assert statistics.compute(metric, truth, live) == pytest.approx(known, abs=0.004)
