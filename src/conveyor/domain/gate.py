"""Gates: checks with a verdict, each with its figures. Pure: figures in, verdicts out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from conveyor.domain.metric import METRICS
from conveyor.domain.project import BaselineGate, GatesConfig, LatencyGate, LeakGate, MetricGate


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient evidence"


@dataclass(frozen=True, slots=True)
class Verdict:
    gate: str
    outcome: Outcome
    message: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate minus live on the same rows, by paired bootstrap: point, and the two-sided interval at `confidence`.

    As computed, not turned by the metric's direction; against a baseline `live` is the baseline and `live_version` 0.
    None: undefined, or unbounded (JSON has no NaN and no infinity).
    """

    live_version: int
    live: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    resamples: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the gates read; written by the evaluation step. None: undefined on these rows.

    `not_compared` says why there is no `comparison` although a version is live, as a clause.
    """

    metric: str
    value: float | None
    rows: int
    positives: int
    metrics: dict[str, float]
    latency_p99_ms: float | None
    single_feature_auc: dict[str, float]
    parity_max_abs_difference: float | None
    nonfinite_outputs: int
    comparison: Comparison | None = None
    baseline: Comparison | None = None
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    not_compared: str = ""


MIN_EVIDENCE = 20
"""Rows of the rarer class (rows, for a regression) below which a bootstrap interval is not believed."""


def decide(
    gates: GatesConfig, evaluation: Evaluation, banned: tuple[str, ...], features: tuple[str, ...]
) -> tuple[Verdict, ...]:
    """Every gate's verdict, always all of them: a person mends everything at once, not the first only."""
    verdicts = [
        _metric(gates.metric, evaluation),
        _leak(gates.leak, evaluation, banned, features),
        _parity(gates.parity_tolerance, evaluation),
        _finite(evaluation),
    ]
    if gates.metric.versus_live is not None:
        verdicts.append(_versus_live(gates.metric, evaluation))
    if gates.latency_p99_ms is not None:
        verdicts.append(_latency(gates.latency_p99_ms, evaluation))
    if gates.baseline is not None:
        verdicts.append(_baseline(gates.baseline, evaluation))
    return tuple(replace(verdict, figures=_storable(verdict.figures)) for verdict in verdicts)


def passed(verdicts: tuple[Verdict, ...]) -> bool:
    """All gates said pass. Insufficient evidence does not pass: the live version stays until there is evidence."""
    return all(verdict.outcome is Outcome.PASS for verdict in verdicts)


def _metric(gate: MetricGate, evaluation: Evaluation) -> Verdict:
    name, value = evaluation.metric, _number(evaluation.value)
    figures = {"value": value, "rows": float(evaluation.rows), "positives": float(evaluation.positives)}
    if not math.isfinite(value):
        why = "it needs rows of both classes. Lengthen the model's holdout, or wait for more labels"
        if evaluation.nonfinite_outputs:
            why = "some scores are NaN or infinite (see the gate finite)"
        message = f"{name} is undefined on {_rows(evaluation)}: {why}."
        return Verdict("metric", Outcome.INSUFFICIENT, message, figures)
    where = f"on {_rows(evaluation)} of the holdout"
    if gate.min is not None and value < gate.min:
        figures["min"] = gate.min
        message = (
            f"{name} is {value:.4f} {where}, under the minimum of {gate.min:g}. Give it better features or more data."
        )
        return Verdict("metric", Outcome.FAIL, message, figures)
    if gate.max is not None and value > gate.max:
        figures["max"] = gate.max
        hint = "a value too good to be true is often a leak" if _sign(evaluation) > 0 else "the error is too large"
        message = f"{name} is {value:.4f} {where}, over the maximum of {gate.max:g}: {hint}."
        return Verdict("metric", Outcome.FAIL, message, figures)
    bounds = [f"minimum {gate.min:g}"] if gate.min is not None else []
    bounds += [f"maximum {gate.max:g}"] if gate.max is not None else []
    said = f" ({', '.join(bounds)})" if bounds else "; no bound is set"
    return Verdict("metric", Outcome.PASS, f"{name} is {value:.4f} {where}{said}.", figures)


def _versus_live(gate: MetricGate, evaluation: Evaluation) -> Verdict:
    """Candidate against live on the same rows, by the interval of the difference d, turned so that positive is better.

    `not_worse`, with a margin m that the user is willing to lose:
      pass          low > -m: a loss beyond the margin is ruled out; or d >= -m and high >= 0: the best estimate is
                    tolerable and no loss at all is shown. Without the second clause a candidate equal to live would be
                    refused whenever the holdout is too small for an interval narrower than m: live would freeze.
      fail          otherwise, when high < 0: the loss is shown, and may be beyond the margin.
      insufficient  otherwise: the best estimate is a loss beyond the margin, yet chance could explain it. Does not
                    pass; the next holdout decides.
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
    d, low, high = _turned(evaluation, pair)
    figures = _figures(pair) | {"margin": gate.margin}
    said = (
        f"{_sides(evaluation, pair)} of live version {pair.live_version} "
        f"(gain {d:+.4f}, {pair.confidence:.0%} interval {low:+.4f} to {high:+.4f}, {_rows(evaluation)})"
    )
    outcome, why = _weak(evaluation, d, low, high) or (
        _better(low, high) if gate.versus_live == "better" else _not_worse(gate.margin, d, low, high)
    )
    return Verdict("versus_live", outcome, f"{said}: {why}", figures)


def _not_worse(margin: float, d: float, low: float, high: float) -> tuple[Outcome, str]:
    if low > -margin:
        return Outcome.PASS, f"a loss of more than {margin:g} is ruled out."
    if d >= -margin and high >= 0:
        return Outcome.PASS, f"no loss is shown, and the best estimate is within the margin of {margin:g}."
    if high < 0:
        return Outcome.FAIL, f"it is worse than live, and a loss of more than {margin:g} is not ruled out. Live stays."
    return Outcome.INSUFFICIENT, (
        f"the best estimate is a loss of more than {margin:g}, but chance could explain it. "
        "Live stays; a longer holdout would settle it."
    )


def _better(low: float, high: float) -> tuple[Outcome, str]:
    if low > 0:
        return Outcome.PASS, "it is better than live."
    if high <= 0:
        return Outcome.FAIL, "it is not better than live, which stays."
    return Outcome.INSUFFICIENT, "chance could explain the difference. Live stays; a longer holdout would settle it."


def _latency(gate: LatencyGate, evaluation: Evaluation) -> Verdict:
    value = _number(evaluation.latency_p99_ms)
    figures = {"latency_p99_ms": value, "max": gate.max}
    if value <= gate.max:
        return Verdict(
            "latency",
            Outcome.PASS,
            f"99 of 100 single rows take at most {value:.3f} ms (maximum {gate.max:g} ms).",
            figures,
        )
    message = (
        f"The 99th percentile of single-row latency is {value:.3f} ms, over the maximum of {gate.max:g} ms. "
        "Train a smaller model (fewer or shallower trees), or raise the bound."
    )
    return Verdict("latency", Outcome.FAIL, message, figures)


def _leak(gate: LeakGate, evaluation: Evaluation, banned: tuple[str, ...], features: tuple[str, ...]) -> Verdict:
    """A feature that the data contract bans, or one that alone ranks the holdout nearly perfectly, either way round."""
    limit = gate.max_single_feature_auc
    forbidden = [name for name in features if name in banned]
    strength = {name: max(auc, 1.0 - auc) for name, auc in evaluation.single_feature_auc.items()}
    ranked = sorted(strength, key=lambda name: (-strength[name], name))
    suspects = [name for name in ranked if strength[name] >= limit]
    if forbidden or suspects:
        columns = list(dict.fromkeys([*forbidden, *suspects]))
        reasons = [f"{name} is banned by the data contract" for name in forbidden]
        reasons += [
            f"{name} alone ranks the holdout with an area under the ROC curve of {strength[name]:.4f} (limit {limit:g})"
            for name in suspects
        ]
        message = (
            f"{'; '.join(reasons)}. Remove {', '.join(columns)} from the model's features: "
            "such a column holds the label, or what is known only after it."
        )
        return Verdict("leak", Outcome.FAIL, message, {name: strength[name] for name in columns if name in strength})
    if not ranked:
        return Verdict("leak", Outcome.PASS, "No feature is banned; single features were not scored.")
    strongest = ranked[0]
    message = (
        f"No feature is banned, and none predicts the label alone: the strongest, {strongest}, "
        f"reaches {strength[strongest]:.4f} (limit {limit:g})."
    )
    return Verdict("leak", Outcome.PASS, message, {strongest: strength[strongest]})


def _parity(tolerance: float, evaluation: Evaluation) -> Verdict:
    value = _number(evaluation.parity_max_abs_difference)
    figures = {"max_abs_difference": value, "tolerance": tolerance}
    if value <= tolerance:
        return Verdict(
            "parity",
            Outcome.PASS,
            f"The ONNX form differs from the native model by at most {value:.2g} (tolerance {tolerance:g}).",
            figures,
        )
    message = (
        f"The ONNX form differs from the native model by up to {value:.4g}, over the tolerance of {tolerance:g}. "
        "Often a split threshold that float32 cannot tell apart: round the features, or raise gates.parity_tolerance."
    )
    return Verdict("parity", Outcome.FAIL, message, figures)


def _finite(evaluation: Evaluation) -> Verdict:
    count = evaluation.nonfinite_outputs
    figures = {"nonfinite_outputs": float(count)}
    if count == 0:
        return Verdict("finite", Outcome.PASS, f"All scores of {_rows(evaluation)} are finite.", figures)
    message = (
        f"{count:,} of {evaluation.rows:,} scores are NaN or infinite. "
        "Look for missing values in the features, and impute them in the model's pipeline."
    )
    return Verdict("finite", Outcome.FAIL, message, figures)


def _baseline(gate: BaselineGate, evaluation: Evaluation) -> Verdict:
    """Not worse than the simpler model: fails when the whole interval of the difference lies below zero."""
    pair = evaluation.baseline
    if pair is None:
        return Verdict(
            "baseline",
            Outcome.INSUFFICIENT,
            f"The {gate.beat} baseline was not trained, so there is nothing to compare with.",
        )
    d, low, high = _turned(evaluation, pair)
    said = (
        f"{_sides(evaluation, pair)} of the {gate.beat} baseline "
        f"(gain {d:+.4f}, {pair.confidence:.0%} interval {low:+.4f} to {high:+.4f})"
    )
    outcome, why = _weak(evaluation, d, low, high) or (
        (Outcome.FAIL, "the simpler model is better; serve that one, or mend this one.")
        if high < 0
        else (Outcome.PASS, "not worse than the simpler model.")
    )
    return Verdict("baseline", outcome, f"{said}: {why}", _figures(pair))


def _weak(evaluation: Evaluation, d: float, low: float, high: float) -> tuple[Outcome, str] | None:
    metric = METRICS.get(evaluation.metric)
    if metric is None or metric.classification:
        found, unit = min(evaluation.positives, evaluation.rows - evaluation.positives), "rows of the rarer class"
    else:
        found, unit = evaluation.rows, "rows"
    if found >= MIN_EVIDENCE and all(map(math.isfinite, (d, low, high))):
        return None
    why = f"{found} {unit} are too few to judge by (needs {MIN_EVIDENCE})"
    if found >= MIN_EVIDENCE:
        why = "the difference could not be computed"
    return Outcome.INSUFFICIENT, f"{why}. Live stays; lengthen the model's holdout, or wait for more labels."


def _sign(evaluation: Evaluation) -> int:
    """A metric that is not in the table is the user's own, and is taken as higher is better."""
    metric = METRICS.get(evaluation.metric)
    return metric.sign if metric else 1


def _turned(evaluation: Evaluation, pair: Comparison) -> tuple[float, float, float]:
    d, low, high = _number(pair.difference), _number(pair.low), _number(pair.high)
    return (d, low, high) if _sign(evaluation) > 0 else (-d, -high, -low)


def _sides(evaluation: Evaluation, pair: Comparison) -> str:
    return f"{evaluation.metric} {_number(pair.candidate):.4f} against {_number(pair.live):.4f}"


def _number(figure: float | None) -> float:
    return math.nan if figure is None else figure


def _storable(figures: dict[str, float]) -> dict[str, float]:
    """JSON has no NaN and no infinity; the message names what is undefined."""
    return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def _figures(pair: Comparison) -> dict[str, float]:
    figures = {
        "candidate": pair.candidate,
        "live": pair.live,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
    }
    known = {name: _number(figure) for name, figure in figures.items()}
    return known | {"confidence": pair.confidence, "resamples": float(pair.resamples)}


def _rows(evaluation: Evaluation) -> str:
    metric = METRICS.get(evaluation.metric)
    positives = f" ({evaluation.positives:,} positive)" if metric is None or metric.classification else ""
    return f"{evaluation.rows:,} rows{positives}"
