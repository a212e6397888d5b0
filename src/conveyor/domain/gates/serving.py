"""The gates on what a version costs to serve."""

from __future__ import annotations

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.gates.config import LatencyGate
from conveyor.domain.gates.evidence import number


def latency(gate: LatencyGate, evaluation: Evaluation) -> Verdict:
    value = number(evaluation.latency_p99_ms)
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
