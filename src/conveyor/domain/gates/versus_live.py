"""The gate against the live version, on the same labelled rows."""

from __future__ import annotations

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import MetricGate
from conveyor.domain.gates.evidence import figures_of, rows_of, sides, turned, weak


def versus_live(gate: MetricGate, evaluation: Evaluation) -> Verdict:
    """Candidate against live on the same rows, by the interval of the difference d, turned so that positive is better.

    `not_worse`, with a margin m that the user is willing to lose (a test of non-inferiority):
      pass          low > -m: a loss beyond the margin is ruled out.
      fail          otherwise, when high < 0: a loss is shown, and may be beyond the margin.
      insufficient  otherwise: too few rows for an interval that is narrow enough. Live stays; the next holdout decides.
    `not_shown_worse`: passes also when d >= -m and high >= 0, so that a candidate equal to live is not held up by a
    small holdout. What it gives up is that bound on mistakes (docs/gates.md has both rules' rates).
    `better`: pass when low > 0, fail when high <= 0, insufficient between.
    Under MIN_EVIDENCE rows of the rarer class there is insufficient evidence whatever the figures.
    No live version: pass.
    """
    pair = evaluation.comparison
    if pair is None and evaluation.not_compared:
        message = (
            f"The live version could not be scored on this holdout: {evaluation.not_compared}. "
            "Keep its features for one more version, or take versus_live out of the gates for this one."
        )
        return Verdict("versus_live", Outcome.INSUFFICIENT, message)
    if pair is None:
        return Verdict(
            "versus_live", Outcome.PASS, "There is no live version yet, so there is nothing to be worse than."
        )
    d, low, high = turned(evaluation, pair)
    figures = figures_of(pair) | {"margin": gate.margin}
    said = (
        f"{sides(evaluation, pair)} of live version {pair.live_version} "
        f"(gain {d:+.4f}, {pair.confidence:.0%} interval {low:+.4f} to {high:+.4f} by {pair.method}, "
        f"{rows_of(evaluation)})"
    )
    outcome, why = weak(evaluation, pair, d, low, high) or (
        _better(low, high)
        if gate.versus_live == "better"
        else _not_worse(gate.margin, d, low, high, lenient=gate.versus_live == "not_shown_worse")
    )
    return Verdict("versus_live", outcome, f"{said}: {why}", figures)


def _not_worse(margin: float, d: float, low: float, high: float, *, lenient: bool) -> tuple[Outcome, str]:
    if low > -margin:
        return Outcome.PASS, f"a loss of more than {margin:g} is ruled out."
    if lenient and d >= -margin and high >= 0:
        return Outcome.PASS, f"no loss is shown, and the best estimate is within the margin of {margin:g}."
    if high < 0:
        return Outcome.FAIL, f"it is worse than live, and a loss of more than {margin:g} is not ruled out. Live stays."
    if d < -margin:
        best = f"the best estimate is a loss of more than {margin:g}, but chance could explain it"
    else:
        best = f"no loss is shown, but a loss of more than {margin:g} is not ruled out either"
    return Outcome.INSUFFICIENT, f"{best}. Live stays; a longer holdout would settle it."


def _better(low: float, high: float) -> tuple[Outcome, str]:
    if low > 0:
        return Outcome.PASS, "it is better than live."
    if high <= 0:
        return Outcome.FAIL, "it is not better than live, which stays."
    return Outcome.INSUFFICIENT, "chance could explain the difference. Live stays; a longer holdout would settle it."
