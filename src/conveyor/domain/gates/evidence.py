"""What the gates' arithmetic shares: which way is better, how much evidence there is, and how figures are told."""

from __future__ import annotations

import math

from conveyor.domain.evaluation import Comparison, Evaluation
from conveyor.domain.gate import Outcome
from conveyor.domain.metric import METRICS

MIN_EVIDENCE = 20
"""Rows of the rarer class (rows, for a regression) below which an interval is not believed."""


def weak(evaluation: Evaluation, pair: Comparison, d: float, low: float, high: float) -> tuple[Outcome, str] | None:
    """Insufficient evidence, and why, where no interval may be believed."""
    metric = METRICS.get(evaluation.metric)
    if metric is None or metric.classification:
        found, unit = min(evaluation.positives, evaluation.rows - evaluation.positives), "rows of the rarer class"
    else:
        found, unit = evaluation.rows, "rows"
    if 0 < pair.groups < found:
        found, unit = pair.groups, "groups of rows"
    if found >= MIN_EVIDENCE and all(map(math.isfinite, (d, low, high))):
        return None
    why = f"{found} {unit} are too few to judge by (needs {MIN_EVIDENCE})"
    if found >= MIN_EVIDENCE:
        why = "the difference could not be computed"
    return Outcome.INSUFFICIENT, f"{why}. Live stays; lengthen the model's holdout, or wait for more labels."


def sign(evaluation: Evaluation) -> int:
    """A metric that is not in the table is the user's own, and is taken as higher is better."""
    metric = METRICS.get(evaluation.metric)
    return metric.sign if metric else 1


def turned(evaluation: Evaluation, pair: Comparison) -> tuple[float, float, float]:
    d, low, high = number(pair.difference), number(pair.low), number(pair.high)
    return (d, low, high) if sign(evaluation) > 0 else (-d, -high, -low)


def sides(evaluation: Evaluation, pair: Comparison) -> str:
    return f"{evaluation.metric} {number(pair.candidate):.4f} against {number(pair.live):.4f}"


def number(figure: float | None) -> float:
    return math.nan if figure is None else figure


def storable(figures: dict[str, float]) -> dict[str, float]:
    """JSON has no NaN and no infinity; the message names what is undefined."""
    return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def figures_of(pair: Comparison) -> dict[str, float]:
    figures = {
        "candidate": pair.candidate,
        "live": pair.live,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
    }
    known = {name: number(figure) for name, figure in figures.items()}
    return known | {"confidence": pair.confidence, "resamples": float(pair.resamples)}


def rows_of(evaluation: Evaluation) -> str:
    metric = METRICS.get(evaluation.metric)
    positives = f" ({evaluation.positives:,} positive)" if metric is None or metric.classification else ""
    return f"{evaluation.rows:,} rows{positives}"
