"""The gates on what a version costs to serve, measured in the real model server."""

from __future__ import annotations

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import CostGate, ServedParityGate
from conveyor.domain.gates.evidence import number


def latency(gate: CostGate, evaluation: Evaluation) -> Verdict:
    if evaluation.served is None:
        return _unmeasured("latency")
    value, alone = evaluation.served.latency_p99_ms, number(evaluation.latency_p99_ms)
    figures = {
        "latency_p99_ms": value,
        "latency_p50_ms": evaluation.served.latency_p50_ms,
        "scoring_p99_ms": alone,
        "max": gate.max,
    }
    said = (
        f"99 of 100 requests of one row to the model server take at most {value:.3f} ms, scoring alone {alone:.3f} ms"
    )
    return _judged("latency", value, gate.max, said, "ms", "fewer or shallower trees", figures)


def memory(gate: CostGate, evaluation: Evaluation) -> Verdict:
    if evaluation.served is None:
        return _unmeasured("memory")
    value = evaluation.served.memory_mb
    said = f"The model server holds up to {value:.1f} MB"
    return _judged(
        "memory", value, gate.max, said, "MB", "fewer trees or layers", {"memory_mb": value, "max": gate.max}
    )


def size(gate: CostGate, evaluation: Evaluation) -> Verdict:
    if evaluation.served is None:
        return _unmeasured("size")
    value = evaluation.served.size_mb
    said = f"The artifact has {value:.3f} MB"
    return _judged("size", value, gate.max, said, "MB", "fewer trees or layers", {"size_mb": value, "max": gate.max})


def parity(gate: ServedParityGate, evaluation: Evaluation) -> Verdict:
    """Rows that were logged at training, asked of the real server as a client asks."""
    served = evaluation.served
    if served is None:
        return _unmeasured("served_parity")
    if not served.logged:
        message = "No row of the holdout has all features, so the model server was asked for none: impute them earlier."
        return Verdict("served_parity", Outcome.INSUFFICIENT, message)
    apart = number(served.apart)
    figures = {"max_abs_difference": apart, "rows": float(served.logged), "tolerance": gate.tolerance}
    said = f"Of {served.logged:,} logged rows, none scores otherwise in the model server than at training by more than"
    if apart <= gate.tolerance:
        return Verdict("served_parity", Outcome.PASS, f"{said} {apart:.2g} (tolerance {gate.tolerance:g}).", figures)
    message = (
        f"Of {served.logged:,} logged rows one scores otherwise in the model server than at training by {apart:.4g} "
        f"(tolerance {gate.tolerance:g}): clients would get other scores than were evaluated. Look for libraries that "
        "differ between training and serving, and train again."
    )
    return Verdict("served_parity", Outcome.FAIL, message, figures)


def _judged(
    name: str, value: float, limit: float, said: str, unit: str, smaller: str, figures: dict[str, float]
) -> Verdict:
    if value <= limit:
        return Verdict(name, Outcome.PASS, f"{said} (maximum {limit:g} {unit}).", figures)
    message = f"{said}, over the maximum of {limit:g} {unit}. Train a smaller model ({smaller}), or raise the bound."
    return Verdict(name, Outcome.FAIL, message, figures)


def _unmeasured(name: str) -> Verdict:
    return Verdict(name, Outcome.INSUFFICIENT, "The version was not measured in the model server: train it again.")
