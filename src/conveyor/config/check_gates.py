"""What [model.NAME.gates] must satisfy beyond its types. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conveyor.config.demands import at_least, choice, fraction, function
from conveyor.config.problem import Place, Problem
from conveyor.domain.gates.config import BASELINES, FAIRNESS, VERSUS_LIVE, Bound, FairnessGate, GatesConfig, MetricGate
from conveyor.domain.gates.time import LEAST
from conveyor.domain.metric import METRICS
from conveyor.domain.project import ModelConfig

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def check_gates(model: ModelConfig) -> Iterator[Problem]:
    at: Place = ("model", model.name, "gates")
    gates = model.gates
    yield from _metric((*at, model.metric), gates.metric)
    if gates.baseline:
        yield from choice((*at, "baseline", "beat"), "baseline", gates.baseline.beat, BASELINES)
    for key in ("latency_p99_ms", "memory_mb", "size_mb"):
        if (cost := getattr(gates, key)) is not None:
            yield from at_least((*at, key, "max"), cost.max, 0)
    yield from fraction((*at, "leak", "max_single_feature_auc"), gates.leak.max_single_feature_auc)
    yield from at_least((*at, "parity_tolerance"), gates.parity_tolerance, 0)
    yield from _also(at, model)
    if gates.slices:
        yield from at_least((*at, "slices", "rise"), gates.slices.rise, 0)
        yield from at_least((*at, "slices", "margin"), gates.slices.margin or 0.0, 0)
    if gates.behaviour is not None and not _MODULE.fullmatch(gates.behaviour):
        yield Problem((*at, "behaviour"), f'expected a module such as "shop.behaviour", found "{gates.behaviour}"')
    if gates.reproducible:
        yield from at_least((*at, "reproducible", "tolerance"), gates.reproducible.tolerance, 0)
    if gates.served_parity:
        yield from at_least((*at, "served_parity", "tolerance"), gates.served_parity.tolerance, 0)
    if gates.maturity:
        yield from fraction((*at, "maturity", "max_unlabelled"), gates.maturity.max_unlabelled)
    if gates.backtest and model.backtest.folds < LEAST:
        yield Problem((*at, "backtest"), f"needs folds = {LEAST} or more in [model.{model.name}.backtest]")
    yield from _of_classes(at, model.metric, gates)


def _metric(at: Place, bound: MetricGate) -> Iterator[Problem]:
    if bound.versus_live is not None:
        yield from choice((*at, "versus_live"), "comparison", bound.versus_live, VERSUS_LIVE)
    yield from _ordered(at, bound)
    if not 0 < bound.confidence < 1:
        yield Problem((*at, "confidence"), f"expected a number between 0 and 1, found {bound.confidence}")
    yield from at_least((*at, "margin"), bound.margin, 0)


def _ordered(at: Place, bound: MetricGate | Bound) -> Iterator[Problem]:
    if bound.min is not None and bound.max is not None and bound.min > bound.max:
        yield Problem((*at, "min"), f"{bound.min} is more than max = {bound.max}")


def _also(at: Place, model: ModelConfig) -> Iterator[Problem]:
    """Further bounds are on metrics of the model's kind, or on the user's own, by the functions' names."""
    metric = METRICS.get(model.metric)
    kind = [m.name for m in METRICS.values() if metric is None or m.classification == metric.classification]
    own = [path.partition(":")[2] for path in model.metrics]
    for path in model.metrics:
        yield from function(("model", model.name, "metrics"), path)
    for name, bound in model.gates.also.items():
        yield from choice((*at, "also", name), "metric", name, [*kind, *own])
        yield from _ordered((*at, "also", name), bound)


def _of_classes(at: Place, metric: str, gates: GatesConfig) -> Iterator[Problem]:
    if gates.fairness:
        yield from _fairness((*at, "fairness"), gates.fairness)
    if metric in METRICS and not METRICS[metric].classification:
        for key in ("fairness", "calibration"):
            if getattr(gates, key) is not None:
                yield Problem((*at, key), f'needs a classifier, but the metric "{metric}" is for regression')


def _fairness(at: Place, gate: FairnessGate) -> Iterator[Problem]:
    yield from choice((*at, "metric"), "rate", gate.metric, FAIRNESS)
    yield from fraction((*at, "max_gap"), gate.max_gap)
