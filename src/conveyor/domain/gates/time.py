"""The gates on time: are the labels of the holdout all there, and was the model good at earlier times too?"""

from __future__ import annotations

import math

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import BacktestGate, MaturityGate
from conveyor.domain.gates.evidence import sign

LEAST = 2
"""Folds without which a backtest says nothing of how the metric moves."""


def maturity(gate: MaturityGate, evaluation: Evaluation) -> Verdict:
    """Rows whose label has not come are not missing at random: one class is usually told sooner than the other."""
    rows = evaluation.rows + evaluation.unlabelled
    share = evaluation.unlabelled / rows if rows else 1.0
    figures = {"unlabelled": float(evaluation.unlabelled), "share": share, "max": gate.max_unlabelled}
    said = f"{evaluation.unlabelled:,} of {rows:,} rows in the holdout's time ({share:.1%}) have no label"
    if share <= gate.max_unlabelled:
        return Verdict("maturity", Outcome.PASS, f"{said} (at most {gate.max_unlabelled:.1%}).", figures)
    message = (
        f"{said}, over {gate.max_unlabelled:.1%}: the rest may be biased to the class that is told sooner. "
        "Raise the label's `delay` until all labels of a row's age are in, or wait for them."
    )
    return Verdict("maturity", Outcome.INSUFFICIENT, message, figures)


def backtest(gate: BacktestGate, evaluation: Evaluation) -> Verdict:
    found = evaluation.backtest
    values = [fold.value for fold in found.folds if fold.value is not None] if found else []
    if found is None or len(values) < LEAST:
        why = "; ".join(dict.fromkeys(fold.why for fold in found.folds if fold.why)) if found else "it was not run"
        message = f"{len(values)} folds of the backtest have a value, {LEAST} are needed: {why}."
        return Verdict("backtest", Outcome.INSUFFICIENT, message, {"folds": float(len(values))})
    mean = math.fsum(values) / len(values)
    worst = min(values) if sign(evaluation) > 0 else max(values)
    figures = {"folds": float(len(values)), "mean": mean, "worst": worst}
    said = f"{evaluation.metric} over {len(values)} earlier times is {mean:.4f} in the mean and {worst:.4f} at worst"
    bad = []
    if gate.min is not None and mean < gate.min:
        bad.append(f"the mean is under {gate.min:g}")
    if gate.max is not None and mean > gate.max:
        bad.append(f"the mean is over {gate.max:g}")
    if gate.worst is not None and sign(evaluation) * (worst - gate.worst) < 0:
        bad.append(f"the worst is beyond {gate.worst:g}")
    if bad:
        return Verdict("backtest", Outcome.FAIL, f"{said}: {' and '.join(bad)}.", figures)
    return Verdict("backtest", Outcome.PASS, f"{said}.", figures)
