"""All gates of a model, decided on one evaluation."""

from __future__ import annotations

from dataclasses import replace

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Verdict
from conveyor.domain.gates import integrity, quality, serving
from conveyor.domain.gates.evidence import storable
from conveyor.domain.gates.versus_live import versus_live
from conveyor.domain.project import GatesConfig


def decide(
    gates: GatesConfig, evaluation: Evaluation, banned: tuple[str, ...], features: tuple[str, ...]
) -> tuple[Verdict, ...]:
    """Every gate's verdict, always all of them: a person mends everything at once, not the first only."""
    verdicts = [
        quality.bounds(gates.metric, evaluation),
        integrity.leak(gates.leak, evaluation, banned, features),
        integrity.parity(gates.parity_tolerance, evaluation),
        integrity.finite(evaluation),
    ]
    if gates.metric.versus_live is not None:
        verdicts.append(versus_live(gates.metric, evaluation))
    if gates.latency_p99_ms is not None:
        verdicts.append(serving.latency(gates.latency_p99_ms, evaluation))
    if gates.baseline is not None:
        verdicts.append(quality.baseline(gates.baseline, evaluation))
    return tuple(replace(verdict, figures=storable(verdict.figures)) for verdict in verdicts)
