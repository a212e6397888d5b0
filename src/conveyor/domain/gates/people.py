"""The gates on how a model treats parts of its rows: slices, groups of people, and what users say it must do."""

from __future__ import annotations

import math
import statistics as standard

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import FairnessGate, SlicesGate
from conveyor.domain.gates.evidence import number, sign
from conveyor.domain.measures.multiple import holm

_NORMAL = standard.NormalDist()


def slices(gate: SlicesGate, evaluation: Evaluation, alpha: float) -> Verdict:
    """Fails where a fault is shown in a slice; it asks for no proof that each slice is well.

    Declared ones: the metric beyond `worst`, or a loss against live beyond `margin`, by one-sided p-values from the
    intervals (normal), adjusted by Holm over all of them. Found ones: see `measures.found_slices`.
    """
    turn = sign(evaluation)
    tests: list[tuple[str, float, str]] = []
    for one in evaluation.slice_figures:
        if gate.worst is not None:
            p = _p(turn * (number(one.value) - gate.worst), one.error)
            tests.append((one.name, p, f"{evaluation.metric} is {number(one.value):.4f} (worst: {gate.worst:g})"))
        if gate.margin is not None and one.difference is not None:
            p = _p(turn * one.difference + gate.margin, one.difference_error)
            tests.append((one.name, p, f"{evaluation.metric} differs from live by {one.difference:+.4f}"))
    adjusted = holm([p for _, p, _ in tests])
    bad = [f"{name}: {why}" for (name, _, why), p in zip(tests, adjusted, strict=True) if p < alpha]
    bad += [
        f"{one.name}: loss {one.candidate:.4f} against live's {one.live:.4f} on {one.rows:,} rows (found by search)"
        for one in evaluation.found_slices
        if one.p_value < alpha
    ]
    figures = {"tested": float(len(tests) + len(evaluation.found_slices)), "failed": float(len(bad))}
    if bad:
        message = f"{'; '.join(bad)}. Give the model rows or features for these."
        return Verdict("slices", Outcome.FAIL, message, figures)
    if not tests and (gate.worst is not None or (gate.margin is not None and evaluation.comparison is not None)):
        message = "No declared slice has enough rows to judge by. Lengthen the holdout, or declare larger slices."
        return Verdict("slices", Outcome.INSUFFICIENT, message, figures)
    said = f"{len(tests)} tests on declared slices and {len(evaluation.found_slices)} on found ones show no fault."
    if evaluation.comparison is None and (gate.find or gate.margin is not None):
        said += " There was no live version to compare with."
    return Verdict("slices", Outcome.PASS, said, figures)


def _p(distance: float, error: float | None) -> float:
    """One-sided, of a distance that is not below 0 under the null hypothesis."""
    if error is None or not math.isfinite(distance):
        return 1.0
    if error == 0.0:
        return 0.0 if distance < 0 else 1.0
    return _NORMAL.cdf(distance / error)


def fairness(gate: FairnessGate, evaluation: Evaluation) -> Verdict:
    found = evaluation.fairness
    if found is None or found.gap is None or not math.isfinite(found.gap):
        message = f"{gate.metric} by {gate.column}: fewer than two groups have enough rows. Lengthen the holdout."
        return Verdict("fairness", Outcome.INSUFFICIENT, message)
    low, high = number(found.low), number(found.high)
    figures = {"gap": found.gap, "low": low, "high": high, "max_gap": gate.max_gap}
    rates = ", ".join(f"{name} {rate:.3f}" for name, rate in found.rates.items())
    few = [name for name in found.rows if name not in found.rates]
    said = (
        f"{gate.metric} by {gate.column} ({rates}) differs by up to {found.gap:.3f} (interval {low:.3f} to {high:.3f})"
    )
    said += f"; too few rows of {', '.join(few)}" if few else ""
    if found.gap <= gate.max_gap:
        return Verdict("fairness", Outcome.PASS, f"{said}, within {gate.max_gap:g}.", figures)
    if low > gate.max_gap:
        message = f"{said}, over {gate.max_gap:g}. Look for what the features say of {gate.column}."
        return Verdict("fairness", Outcome.FAIL, message, figures)
    message = f"{said}, over {gate.max_gap:g}, but chance could explain it. A longer holdout would settle it."
    return Verdict("fairness", Outcome.INSUFFICIENT, message, figures)


def behaviour(evaluation: Evaluation) -> Verdict:
    tried = evaluation.behaviour
    figures = {one.name: float(one.failures) for one in tried}
    bad = [
        f"{one.name}: {one.failures:,} of {one.rows:,} rows, worst by {one.worst:.3g}" for one in tried if one.failures
    ]
    if bad:
        return Verdict("behaviour", Outcome.FAIL, f"{'; '.join(bad)}. Mend the model, or the test.", figures)
    empty = [one.name for one in tried if one.rows == 0]
    if empty or not tried:
        message = f"No row was tried by {', '.join(empty) or 'any test'}: loosen its filter, or lengthen the holdout."
        return Verdict("behaviour", Outcome.INSUFFICIENT, message, figures)
    return Verdict("behaviour", Outcome.PASS, f"All {len(tried)} behavioural tests hold.", figures)
