"""What a [model.NAME] section must satisfy beyond its types; services share the check of rollouts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from conveyor.config.check_gates import check_gates
from conveyor.config.demands import at_least, choice, cron, fraction, function, positive
from conveyor.config.graph import check_inputs, own_names, upstream
from conveyor.config.problem import Place, Problem
from conveyor.domain.metric import METRICS
from conveyor.domain.project import (
    GROUP_SPLITS,
    KEY,
    LOG_MODES,
    OUTCOMES,
    TRIGGERS,
    Abort,
    ModelConfig,
    ProjectConfig,
    RetrainConfig,
    RolloutConfig,
)
from conveyor.domain.source import DATA, source

_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*", re.ASCII)


def check_model(model: ModelConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("model", model.name)
    yield from function((*at, "train"), model.train)
    yield from choice((*at, "metric"), "metric", model.metric, METRICS)
    if not model.inputs:
        yield Problem((*at, "inputs"), "a model needs at least one input")
    dangling = list(check_inputs((*at, "inputs"), model.inputs, config))
    yield from dangling
    if model.inputs and not dangling:
        yield from upstream(model, config)
        yield from own_names(model, config)
        first = source(model.inputs[0])
        if first.kind == DATA and config.data[first.name].kind == "files":
            yield Problem(
                (*at, "inputs"), "the first input holds the rows to learn from; make them of the files in a step"
            )
    for key in ("window", "holdout", "timeout"):
        yield from positive((*at, key), getattr(model, key))
    yield from check_gates(model)
    yield from choice((*at, "group_split"), "split", model.group_split, GROUP_SPLITS)
    if model.group is None and model.group_split != "past":
        yield Problem((*at, "group_split"), "needs `group`, the column that says whose a row is")
    yield from at_least((*at, "backtest", "folds"), model.backtest.folds, 0)
    yield from positive((*at, "backtest", "step"), model.backtest.step)
    yield from _retrain((*at, "retrain"), model.retrain)
    yield from at_least((*at, "monitor", "rows"), model.monitor.rows, 1)
    yield from at_least((*at, "monitor", "psi"), model.monitor.psi, 0)
    yield from fraction((*at, "monitor", "false_alarms"), model.monitor.false_alarms)
    yield from at_least((*at, "monitor", "decay"), model.monitor.decay, 0)
    yield from at_least((*at, "serve", "workers"), model.serve.workers, 1)
    yield from choice((*at, "serve", "observations"), "mode", model.serve.observations, LOG_MODES)
    yield from positive((*at, "observations", "keep"), model.observations.keep)
    for name in model.observations.redact:
        if model.features and name not in (*model.features, KEY):
            yield Problem((*at, "observations", "redact"), f'"{name}" is no feature of it, nor "{KEY}"')
    if not 0 < model.observations.sample <= 1:
        sample = model.observations.sample
        yield Problem((*at, "observations", "sample"), f"expected a fraction above 0, up to 1, found {sample}")
    yield from positive((*at, "labels", "horizon"), model.labels.horizon)
    yield from check_rollout((*at, "rollout"), model.rollout)


def _retrain(at: Place, retrain: RetrainConfig) -> Iterator[Problem]:
    for word in retrain.on:
        yield from choice((*at, "on"), "trigger", word, TRIGGERS)
    yield from cron((*at, "schedule"), retrain.schedule)
    yield from at_least((*at, "min_new_rows"), retrain.min_new_rows, 0)
    yield from at_least((*at, "budget", "runs_per_day"), retrain.budget.runs_per_day, 1)


def check_rollout(at: Place, rollout: RolloutConfig) -> Iterator[Problem]:
    steps = rollout.steps
    rising = all(low < high for low, high in pairwise(steps))
    if not steps or steps[-1] != 100 or steps[0] < 1 or not rising:
        yield Problem((*at, "steps"), f"expected percents that rise to 100 such as [5, 25, 100], found {list(steps)}")
    yield from at_least((*at, "shadow", "requests"), rollout.shadow.requests, 0)
    yield from positive((*at, "shadow", "within"), rollout.shadow.within)
    if rollout.shadow.tolerance < 0:
        yield Problem((*at, "shadow", "tolerance"), f"expected 0 or more, found {rollout.shadow.tolerance}")
    yield from positive((*at, "start_timeout"), rollout.start_timeout)
    yield from positive((*at, "deadline"), rollout.deadline)
    yield from choice((*at, "insufficient"), "outcome", rollout.insufficient, OUTCOMES)
    if rollout.sticky is not None and not _HEADER.fullmatch(rollout.sticky):
        yield Problem((*at, "sticky"), f'expected "cookie" or the name of a header, found "{rollout.sticky}"')
    yield from _abort((*at, "abort"), rollout.abort)


def _abort(at: Place, abort: Abort) -> Iterator[Problem]:
    yield from fraction((*at, "error_rate"), abort.error_rate)
    if not 0 < abort.regression <= 1:
        yield Problem((*at, "regression"), f"expected a fraction above 0, up to 1, found {abort.regression}")
    yield from at_least((*at, "slower"), abort.slower, 1)
    yield from at_least((*at, "min_requests"), abort.min_requests, 1)
    if abort.latency_p99_ms is not None:
        yield from at_least((*at, "latency_p99_ms"), abort.latency_p99_ms, 0)
    if abort.divergence is not None:
        yield from fraction((*at, "divergence"), abort.divergence)
