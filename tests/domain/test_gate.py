from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.evaluation import Comparison, Evaluation, Served
from conveyor.domain.gate import Outcome, Verdict, passed
from conveyor.domain.gates.config import BaselineGate, CostGate, GatesConfig, MetricGate, ServedParityGate
from conveyor.domain.gates.decide import decide

GOOD = Evaluation(
    metric="average_precision",
    value=0.61,
    rows=67_102,
    positives=560,
    metrics={},
    latency_p99_ms=0.4,
    single_feature_auc={"amount": 0.71, "inverse_risk": 0.2},
    parity_max_abs_difference=3e-7,
    nonfinite_outputs=0,
    served=Served(latency_p50_ms=0.3, latency_p99_ms=0.9, memory_mb=80.0, size_mb=2.0, calls=300),
)
GATES = GatesConfig(
    metric=MetricGate(min=0.5, versus_live="not_worse", margin=0.02),
    latency_p99_ms=CostGate(max=10),
    memory_mb=CostGate(max=500),
    size_mb=CostGate(max=50),
)
FEATURES = ("amount", "inverse_risk")


def pair(d: float, low: float, high: float) -> Comparison:
    return Comparison(
        live_version=3,
        live=0.6,
        candidate=0.6 + d,
        difference=d,
        low=low,
        high=high,
        confidence=0.95,
        resamples=500,
    )


def verdict(name, evaluation=GOOD, gates=GATES, banned=(), features=FEATURES):
    return {v.gate: v for v in decide(gates, evaluation, banned, features)}[name]


def test_a_good_first_model_passes_every_gate():
    verdicts = decide(GATES, GOOD, ("TX_FRAUD_SCENARIO",), FEATURES)
    assert [v.gate for v in verdicts] == [
        "metric",
        "leak",
        "parity",
        "finite",
        "versus_live",
        "latency",
        "memory",
        "size",
    ]
    assert passed(verdicts)
    assert verdict("versus_live").message.startswith("There is no live version yet")
    assert verdict("metric").message == (
        "average_precision is 0.6100 on 67,102 rows (560 positive) of the holdout (minimum 0.5)."
    )
    assert verdict("leak").figures == {"inverse_risk": 0.8}, "a feature that ranks backwards is as strong"


@pytest.mark.parametrize(
    ("gate", "change", "says"),
    [
        ("metric", {"value": 0.41}, "0.4100 on 67,102 rows (560 positive) of the holdout, under the minimum of 0.5"),
        (
            "latency",
            {"served": Served(1.0, 12.0, 80.0, 2.0, 300)},
            "12.000 ms, scoring alone 0.400 ms, over the maximum",
        ),
        ("memory", {"served": Served(1.0, 2.0, 700.0, 2.0, 300)}, "700.0 MB, over the maximum of 500 MB"),
        ("size", {"served": Served(1.0, 2.0, 80.0, 70.0, 300)}, "70.000 MB, over the maximum of 50 MB"),
        ("leak", {"single_feature_auc": {"x": 0.995}}, "x alone ranks the holdout with an area under the ROC curve"),
        ("leak", {"single_feature_auc": {"x": 0.001}}, "Remove x from the model's features"),
        ("parity", {"parity_max_abs_difference": 0.03}, "0.03, over the tolerance of 0.0001"),
        ("parity", {"parity_max_abs_difference": math.nan}, "tolerance"),
        ("finite", {"nonfinite_outputs": 1200}, "1,200 of 67,102 scores are NaN or infinite"),
    ],
)
def test_a_gate_that_fails_says_so_with_its_figures_and_stops_the_model(gate, change, says):
    found = verdict(gate, replace(GOOD, **change))
    assert found.outcome is Outcome.FAIL
    assert says in found.message
    assert not passed(decide(GATES, replace(GOOD, **change), (), FEATURES))


def test_a_banned_column_is_named_with_the_ban():
    found = verdict("leak", banned=("TX_FRAUD_SCENARIO",), features=("amount", "TX_FRAUD_SCENARIO"))
    assert found.outcome is Outcome.FAIL
    assert found.message == (
        "TX_FRAUD_SCENARIO is banned by the data contract. Remove TX_FRAUD_SCENARIO from the model's features: "
        "such a column holds the label, or what is known only after it."
    )


@pytest.mark.parametrize(
    ("d", "low", "high", "outcome", "why"),
    [
        (+0.05, +0.01, +0.09, Outcome.PASS, "ruled out"),
        (-0.005, -0.015, -0.001, Outcome.PASS, "ruled out"),  # surely worse, by less than the margin
        (0.0, -0.05, +0.05, Outcome.INSUFFICIENT, "not ruled out either"),  # equal models on a noisy week
        (-0.03, -0.07, +0.01, Outcome.INSUFFICIENT, "chance could explain it"),
        (-0.019, -0.03, -0.005, Outcome.FAIL, "worse than live"),
        (-0.06, -0.09, -0.03, Outcome.FAIL, "worse than live"),
        (-0.06, -0.11, -0.01, Outcome.FAIL, "worse than live"),
        (math.nan, -math.inf, math.inf, Outcome.INSUFFICIENT, "could not be computed"),
    ],
)
def test_not_worse_than_live(d, low, high, outcome, why):
    found = verdict("versus_live", replace(GOOD, comparison=pair(d, low, high)))
    assert found.outcome is outcome
    assert why in found.message
    assert "of live version 3" in found.message
    assert found.figures["margin"] == 0.02


@pytest.mark.parametrize(
    ("d", "low", "high", "outcome"),
    [
        (0.0, -0.05, +0.05, Outcome.PASS),  # equal models on a noisy week: not held up
        (-0.015, -0.06, +0.03, Outcome.PASS),
        (-0.03, -0.07, +0.01, Outcome.INSUFFICIENT),
        (-0.019, -0.03, -0.005, Outcome.FAIL),
    ],
)
def test_not_shown_worse_than_live(d, low, high, outcome):
    gates = GatesConfig(metric=MetricGate(versus_live="not_shown_worse", margin=0.02))
    assert verdict("versus_live", replace(GOOD, comparison=pair(d, low, high)), gates).outcome is outcome


def test_few_groups_are_little_evidence_however_many_rows_they_have():
    few = replace(pair(0.2, 0.1, 0.3), groups=19)
    found = verdict("versus_live", replace(GOOD, comparison=few))
    assert found.outcome is Outcome.INSUFFICIENT
    assert "19 groups of rows are too few" in found.message


@given(
    st.sampled_from(["not_worse", "not_shown_worse"]),
    *(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5)),
)
def test_a_shown_loss_beyond_the_margin_never_passes_and_a_better_one_is_judged_no_worse(rule, d, below, above, margin):
    gates = GatesConfig(metric=MetricGate(versus_live=rule, margin=margin))
    low, high = d - below, d + above
    outcome = verdict("versus_live", replace(GOOD, comparison=pair(d, low, high)), gates).outcome
    if high < -margin:
        assert outcome is Outcome.FAIL
    if rule == "not_worse":
        assert (outcome is Outcome.PASS) == (low > -margin)
    elif d >= 0:
        assert outcome is Outcome.PASS, "a candidate that did at least as well is never held up"
    if outcome is Outcome.PASS:
        raised = pair(d + 0.1, low + 0.1, high + 0.1)
        better = verdict("versus_live", replace(GOOD, comparison=raised), gates).outcome
        assert better is Outcome.PASS, "a better candidate is never judged worse"


def test_better_wants_the_whole_interval_above_zero():
    gates = GatesConfig(metric=MetricGate(versus_live="better"))
    outcomes = [
        verdict("versus_live", replace(GOOD, comparison=pair(*figures)), gates).outcome
        for figures in [(0.02, 0.001, 0.04), (0.02, -0.001, 0.04), (-0.02, -0.04, 0.0)]
    ]
    assert outcomes == [Outcome.PASS, Outcome.INSUFFICIENT, Outcome.FAIL]


def test_where_lower_is_better_the_difference_is_turned():
    regression = replace(GOOD, metric="rmse", value=3.0, positives=0)
    gates = GatesConfig(metric=MetricGate(max=5, versus_live="not_worse", margin=0.1))
    worse, better = pair(0.5, 0.3, 0.7), pair(-0.5, -0.7, -0.3)
    assert verdict("versus_live", replace(regression, comparison=worse), gates).outcome is Outcome.FAIL
    assert verdict("versus_live", replace(regression, comparison=better), gates).outcome is Outcome.PASS
    assert "the error is too large" in verdict("metric", replace(regression, value=6.0), gates).message


def test_too_few_positives_are_no_evidence_either_way():
    few = replace(GOOD, positives=19, comparison=pair(0.2, 0.1, 0.3))
    found = verdict("versus_live", few)
    assert found.outcome is Outcome.INSUFFICIENT
    assert "19 rows of the rarer class are too few to judge by (needs 20)" in found.message
    none = verdict("metric", replace(GOOD, value=math.nan, positives=0))
    assert (none.outcome, "undefined" in none.message) == (Outcome.INSUFFICIENT, True)
    assert not passed((found,))


def test_a_live_version_that_could_not_be_scored_is_no_pass():
    found = verdict("versus_live", replace(GOOD, not_compared="version 3 needs risk, which the holdout lacks"))
    assert found.outcome is Outcome.INSUFFICIENT
    assert "could not be scored on this holdout: version 3 needs risk, which the holdout lacks. Keep" in found.message


def test_what_is_undefined_survives_json_and_never_passes():
    unknown = Comparison(3, math.nan, 0.6, math.nan, -math.inf, math.inf, 0.95, 500)
    written = replace(GOOD, value=math.nan, parity_max_abs_difference=math.nan, comparison=unknown, nonfinite_outputs=3)
    read = wire.from_json(wire.to_json(written), Evaluation)
    verdicts = decide(GATES, read, (), FEATURES)
    said = {v.gate: v.outcome for v in verdicts if v.outcome is not Outcome.PASS}
    assert said == {"metric": "insufficient evidence", "versus_live": "insufficient evidence"} | {
        "parity": "fail",
        "finite": "fail",
    }
    assert wire.from_json(wire.to_json(verdicts), tuple[Verdict, ...]) == verdicts


def test_baseline_is_beaten_unless_shown_better():
    gates = replace(GATES, baseline=BaselineGate(beat="logistic"))
    assert verdict("baseline", GOOD, gates).outcome is Outcome.INSUFFICIENT
    for figures, outcome in [((-0.01, -0.05, 0.03), Outcome.PASS), ((-0.05, -0.08, -0.02), Outcome.FAIL)]:
        found = verdict("baseline", replace(GOOD, baseline=pair(*figures)), gates)
        assert found.outcome is outcome
        assert "of the logistic baseline" in found.message


def test_the_server_must_give_what_the_model_gave_at_training():
    gates = replace(GATES, served_parity=ServedParityGate(tolerance=1e-4))
    assert gates.costs
    for change, outcome, says in (
        ({"logged": 200, "apart": 3e-7}, Outcome.PASS, "Of 200 logged rows, none"),
        ({"logged": 200, "apart": 0.02}, Outcome.FAIL, "by 0.02 (tolerance 0.0001)"),
        ({"logged": 200, "apart": None}, Outcome.FAIL, "by nan"),
        ({}, Outcome.INSUFFICIENT, "No row of the holdout has all features"),
    ):
        found = verdict("served_parity", replace(GOOD, served=replace(GOOD.served, **change)), gates)
        assert (found.outcome, says in found.message) == (outcome, True), found.message
    assert verdict("served_parity", replace(GOOD, served=None), gates).outcome is Outcome.INSUFFICIENT
