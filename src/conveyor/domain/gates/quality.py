"""The gates on the model's metric: bounds of its own, and the simpler baseline."""

from __future__ import annotations

import math

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.evidence import figures_of, number, rows_of, sides, sign, turned, weak
from conveyor.domain.project import BaselineGate, MetricGate


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
