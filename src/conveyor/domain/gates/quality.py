"""The gates on the model's metric: bounds of its own, and the simpler baseline."""

from __future__ import annotations

import math

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import BaselineGate, Bound, CalibrationGate, MetricGate
from conveyor.domain.gates.evidence import figures_of, number, rows_of, sides, sign, turned, weak


def bounds(gate: MetricGate, evaluation: Evaluation) -> Verdict:
    name, value = evaluation.metric, number(evaluation.value)
    figures = {"value": value, "rows": float(evaluation.rows), "positives": float(evaluation.positives)}
    if not math.isfinite(value):
        why = "it needs rows of both classes. Lengthen the model's holdout, or wait for more labels"
        if evaluation.nonfinite_outputs:
            why = "some scores are NaN or infinite (see the gate finite)"
        message = f"{name} is undefined on {rows_of(evaluation)}: {why}."
        return Verdict("metric", Outcome.INSUFFICIENT, message, figures)
    where = f"on {rows_of(evaluation)} of the holdout"
    if gate.min is not None and value < gate.min:
        figures["min"] = gate.min
        message = (
            f"{name} is {value:.4f} {where}, under the minimum of {gate.min:g}. Give it better features or more data."
        )
        return Verdict("metric", Outcome.FAIL, message, figures)
    if gate.max is not None and value > gate.max:
        figures["max"] = gate.max
        hint = "a value too good to be true is often a leak" if sign(evaluation) > 0 else "the error is too large"
        message = f"{name} is {value:.4f} {where}, over the maximum of {gate.max:g}: {hint}."
        return Verdict("metric", Outcome.FAIL, message, figures)
    bounds = [f"minimum {gate.min:g}"] if gate.min is not None else []
    bounds += [f"maximum {gate.max:g}"] if gate.max is not None else []
    said = f" ({', '.join(bounds)})" if bounds else "; no bound is set"
    return Verdict("metric", Outcome.PASS, f"{name} is {value:.4f} {where}{said}.", figures)


def baseline(gate: BaselineGate, evaluation: Evaluation) -> Verdict:
    """Not worse than the simpler model: fails when the whole interval of the difference lies below zero."""
    pair = evaluation.baseline
    if pair is None:
        return Verdict(
            "baseline",
            Outcome.INSUFFICIENT,
            f"The {gate.beat} baseline was not trained, so there is nothing to compare with.",
        )
    d, low, high = turned(evaluation, pair)
    said = (
        f"{sides(evaluation, pair)} of the {gate.beat} baseline "
        f"(gain {d:+.4f}, {pair.confidence:.0%} interval {low:+.4f} to {high:+.4f})"
    )
    outcome, why = weak(evaluation, pair, d, low, high) or (
        (Outcome.FAIL, "the simpler model is better; serve that one, or mend this one.")
        if high < 0
        else (Outcome.PASS, "not worse than the simpler model.")
    )
    return Verdict("baseline", outcome, f"{said}: {why}", figures_of(pair))


def further(name: str, bound: Bound, evaluation: Evaluation) -> Verdict:
    """A bound on a metric that the model is not trained by: one of ours, or the user's own."""
    value = number(evaluation.metrics.get(name))
    figures = {name: value}
    if not math.isfinite(value):
        return Verdict(name, Outcome.INSUFFICIENT, f"{name} is undefined on {rows_of(evaluation)}.", figures)
    said = f"{name} is {value:.4f} on {rows_of(evaluation)} of the holdout"
    if bound.min is not None and value < bound.min:
        return Verdict(name, Outcome.FAIL, f"{said}, under the minimum of {bound.min:g}.", figures | {"min": bound.min})
    if bound.max is not None and value > bound.max:
        return Verdict(name, Outcome.FAIL, f"{said}, over the maximum of {bound.max:g}.", figures | {"max": bound.max})
    return Verdict(name, Outcome.PASS, f"{said}, within its bounds.", figures)


def calibration(gate: CalibrationGate, evaluation: Evaluation) -> Verdict:
    """`ece` over its bound fails only where chance does not explain it (see `measures.calibration`)."""
    found = evaluation.calibration
    if found is None:
        message = "Calibration is undefined: scores are not probabilities, or the holdout has fewer than 15 rows."
        return Verdict("calibration", Outcome.INSUFFICIENT, message)
    figures = {"ece": found.ece, "chance": found.chance, "brier": found.brier, "z": found.z, "p_value": found.p_value}
    said = f"expected calibration error {found.ece:.4f} (by chance up to {found.chance:.4f}), Brier {found.brier:.4f}"
    if gate.max_brier is not None and found.brier > gate.max_brier:
        message = f"The {said}: the Brier score is over {gate.max_brier:g}."
        return Verdict("calibration", Outcome.FAIL, message, figures | {"max_brier": gate.max_brier})
    if gate.max_ece is not None and found.ece > gate.max_ece:
        figures["max_ece"] = gate.max_ece
        if found.ece > found.chance:
            message = f"The {said}: over {gate.max_ece:g}. Calibrate it, such as by CalibratedClassifierCV."
            return Verdict("calibration", Outcome.FAIL, message, figures)
        message = f"The {said}: over {gate.max_ece:g}, but chance could explain it. A longer holdout would settle it."
        return Verdict("calibration", Outcome.INSUFFICIENT, message, figures)
    return Verdict("calibration", Outcome.PASS, f"The {said}: within bounds.", figures)
