"""Verdicts of the gates on parts of the rows, on scores as probabilities, and on what users say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conveyor.domain import wire
from conveyor.domain.evaluation import (
    Behaviour,
    Calibration,
    Comparison,
    Evaluation,
    Fairness,
    FoundSlice,
    SliceFigures,
)
from conveyor.domain.gate import Outcome
from conveyor.domain.gates.config import (
    Bound,
    CalibrationGate,
    FairnessGate,
    GatesConfig,
    ReproducibleGate,
    SlicesGate,
)
from conveyor.domain.gates.decide import decide

PAIR = Comparison(3, 0.6, 0.6, 0.0, -0.01, 0.01, 0.95, 500)
GOOD = Evaluation("roc_auc", 0.9, 5000, 500, {"brier": 0.02, "cp100": 0.3}, None, {}, 0.0, 0, PAIR)
CALIBRATED = Calibration(ece=0.01, chance=0.02, brier=0.05, z=0.1, p_value=0.9)
FAIR = Fairness("AGE", "fpr", {"old": 0.02, "young": 0.03}, {"old": 900, "young": 800, "none": 3}, 0.01, 0.0, 0.03)


def verdict(gates: GatesConfig, evaluation: Evaluation, name: str):
    read = wire.from_json(wire.to_json(evaluation), Evaluation)
    return {v.gate: v for v in decide(gates, read, (), ())}[name]


@pytest.mark.parametrize(
    ("figures", "found", "outcome", "says"),
    [
        ((), (), Outcome.INSUFFICIENT, "No declared slice has enough rows"),
        ((SliceFigures("zone=1", 900, 90, 0.8, 0.02),), (), Outcome.PASS, "1 tests on declared slices"),
        ((SliceFigures("zone=1", 900, 90, 0.6, 0.02),), (), Outcome.FAIL, "zone=1: roc_auc is 0.6000 (worst: 0.7)"),
        ((SliceFigures("zone=1", 90, 20, 0.68, 0.02),), (), Outcome.PASS, "show no fault"),
        ((SliceFigures("zone=1", 900, 90, 0.8, 0.02, -0.3, 0.05),), (), Outcome.FAIL, "differs from live by -0.3000"),
        (
            (SliceFigures("zone=1", 900, 90, 0.8, 0.02, 0.0, 0.05),),
            (FoundSlice("a in [1, 2)", 400, 0.3, 0.1, 0.001),),
            *(Outcome.FAIL, "a in [1, 2): loss 0.3000 against live's 0.1000 on 400 rows (found by search)"),
        ),
    ],
)
def test_slices(figures, found, outcome, says):
    gates = GatesConfig(slices=SlicesGate(worst=0.7, margin=0.1, find=True))
    said = verdict(gates, replace(GOOD, slice_figures=figures, found_slices=found), "slices")
    assert (said.outcome, says in said.message) == (outcome, True), said.message


def test_one_bad_slice_among_many_needs_more_evidence_than_one_alone():
    gates = GatesConfig(slices=SlicesGate(worst=0.7))
    bad = SliceFigures("zone=0", 900, 90, 0.66, 0.02)  # two standard errors
    fine = tuple(SliceFigures(f"zone={i}", 900, 90, 0.9, 0.02) for i in range(1, 20))
    assert verdict(gates, replace(GOOD, slice_figures=(bad,)), "slices").outcome is Outcome.FAIL
    assert verdict(gates, replace(GOOD, slice_figures=(bad, *fine)), "slices").outcome is Outcome.PASS


def test_slices_of_a_metric_of_error_are_turned():
    gates = GatesConfig(slices=SlicesGate(worst=2.0, margin=0.1))
    error = replace(GOOD, metric="rmse", positives=0)
    high = SliceFigures("zone=1", 900, 0, 3.0, 0.1, 0.0, 0.1)
    worse = SliceFigures("zone=1", 900, 0, 1.0, 0.1, +0.5, 0.1)
    better = SliceFigures("zone=1", 900, 0, 1.0, 0.1, -0.5, 0.1)
    outcomes = [verdict(gates, replace(error, slice_figures=(one,)), "slices").outcome for one in (high, worse, better)]
    assert outcomes == [Outcome.FAIL, Outcome.FAIL, Outcome.PASS]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (FAIR, Outcome.PASS),
        (replace(FAIR, gap=0.06, low=0.03, high=0.09), Outcome.FAIL),
        (replace(FAIR, gap=0.06, low=0.01, high=0.09), Outcome.INSUFFICIENT),
        (replace(FAIR, gap=float("nan")), Outcome.INSUFFICIENT),
        (None, Outcome.INSUFFICIENT),
    ],
)
def test_fairness(change, outcome):
    gates = GatesConfig(fairness=FairnessGate("AGE", "fpr", 0.02))
    said = verdict(gates, replace(GOOD, fairness=change), "fairness")
    assert said.outcome is outcome
    if outcome is Outcome.PASS:
        assert "too few rows of none" in said.message


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (CALIBRATED, Outcome.PASS),
        (replace(CALIBRATED, ece=0.05), Outcome.FAIL),
        (replace(CALIBRATED, ece=0.05, chance=0.06), Outcome.INSUFFICIENT),
        (replace(CALIBRATED, brier=0.2), Outcome.FAIL),
        (None, Outcome.INSUFFICIENT),
    ],
)
def test_calibration(change, outcome):
    gates = GatesConfig(calibration=CalibrationGate(max_ece=0.03, max_brier=0.1))
    assert verdict(gates, replace(GOOD, calibration=change), "calibration").outcome is outcome


def test_further_metrics_behaviour_and_a_second_training():
    gates = GatesConfig(
        also={"brier": Bound(max=0.01), "cp100": Bound(min=0.25), "f1": Bound(min=0.1)},
        behaviour="shop.behaviour",
        reproducible=ReproducibleGate(tolerance=1e-9),
    )
    tried = (Behaviour("amount", 500, 0, 0.0), Behaviour("zone", 500, 3, 0.2))
    outcomes = {v.gate: v.outcome for v in decide(gates, replace(GOOD, twice_max_abs_difference=0.0), (), ())}
    assert outcomes["brier"] is Outcome.FAIL
    assert outcomes["cp100"] is Outcome.PASS
    assert outcomes["f1"] is Outcome.INSUFFICIENT
    assert outcomes["behaviour"] is Outcome.INSUFFICIENT, "no check ran"
    assert outcomes["reproducible"] is Outcome.PASS
    said = verdict(gates, replace(GOOD, behaviour=tried), "behaviour")
    assert said.message.startswith("zone: 3 of 500 rows, worst by 0.2")
    assert verdict(gates, replace(GOOD, behaviour=tried[:1]), "behaviour").outcome is Outcome.PASS
    empty = replace(GOOD, behaviour=(*tried[:1], Behaviour("rare", 0, 0, 0.0)))
    assert verdict(gates, empty, "behaviour").outcome is Outcome.INSUFFICIENT
    twice = replace(GOOD, twice_max_abs_difference=0.1)
    assert verdict(gates, twice, "reproducible").outcome is Outcome.FAIL
