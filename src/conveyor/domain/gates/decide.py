"""All gates of a model, decided on one evaluation."""

from __future__ import annotations

from dataclasses import replace

from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Verdict
from conveyor.domain.gates import integrity, people, quality, serving, time
from conveyor.domain.gates.config import GatesConfig
from conveyor.domain.gates.evidence import storable
from conveyor.domain.gates.versus_live import versus_live


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
    if gates.memory_mb is not None:
        verdicts.append(serving.memory(gates.memory_mb, evaluation))
    if gates.size_mb is not None:
        verdicts.append(serving.size(gates.size_mb, evaluation))
    if gates.served_parity is not None:
        verdicts.append(serving.parity(gates.served_parity, evaluation))
    if gates.baseline is not None:
        verdicts.append(quality.baseline(gates.baseline, evaluation))
    verdicts += [quality.further(name, bound, evaluation) for name, bound in gates.also.items()]
    if gates.calibration is not None:
        verdicts.append(quality.calibration(gates.calibration, evaluation))
    if gates.slices is not None:
        verdicts.append(people.slices(gates.slices, evaluation, 1.0 - gates.metric.confidence))
    if gates.fairness is not None:
        verdicts.append(people.fairness(gates.fairness, evaluation))
    if gates.behaviour is not None:
        verdicts.append(people.behaviour(evaluation))
    if gates.reproducible is not None:
        verdicts.append(integrity.reproducible(gates.reproducible, evaluation))
    if gates.maturity is not None:
        verdicts.append(time.maturity(gates.maturity, evaluation))
    if gates.backtest is not None:
        verdicts.append(time.backtest(gates.backtest, evaluation))
    return tuple(replace(verdict, figures=storable(verdict.figures)) for verdict in verdicts)
