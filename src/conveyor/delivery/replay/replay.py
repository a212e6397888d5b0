"""A replay from a project's folder: the rows, the policies walked side by side, and what to recommend."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from blake3 import blake3
from cronsim import CronSim

from conveyor.delivery.inputs import datasets_of, sources_of
from conveyor.delivery.replay.features import Features, Made
from conveyor.delivery.replay.history import History, sorted_rows
from conveyor.delivery.replay.trainings import Trainings
from conveyor.delivery.replay.walk import Setting, Walk
from conveyor.delivery.replay.workers import Workers
from conveyor.delivery.train import train_spec
from conveyor.domain.gates.config import GatesConfig
from conveyor.domain.project import ModelConfig, ProjectConfig
from conveyor.domain.replay import Policy, Replayed, Walked, recommend
from conveyor.domain.step import TrainSpec
from conveyor.effects import envs
from conveyor.effects.source import code_digest
from conveyor.errors import Conflict, InputRejected

_NOT_MEASURED = ("latency_p99_ms", "memory_mb", "size_mb", "backtest", "reproducible")


@dataclass(frozen=True, slots=True)
class Asked:
    """`first` up to, not including, `last` of event time is played; quality counts from `scored_from` on.

    Nothing is trained before `live_from`: what lies before is only there to learn from.
    """

    policies: tuple[Policy, ...]
    tick: timedelta
    block: timedelta
    first: datetime | None = None
    last: datetime | None = None
    live_from: datetime | None = None
    scored_from: datetime | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """The project's folder, the Python that trains, and where trainings are kept."""

    root: Path
    python: Path
    cache: Path


Tell = Callable[[Walked], None]


def replay(
    config: ProjectConfig, model: ModelConfig, rows: Mapping[str, Path], place: Place, asked: Asked, tell: Tell
) -> Replayed:
    """`rows` is a Parquet file a dataset, named by its content. `tell` hears of each policy that is through."""
    began = time.perf_counter()
    place.cache.mkdir(parents=True, exist_ok=True)
    workers = Workers(place.python, place.root, place.cache / "log", os.environ, asked.jobs)
    try:
        model, left_out = measured(model)
        environment = envs.key(envs.declared(lambda name: _file(place.root / name)), "", "")
        made = Features(config, place.root, environment, workers, place.cache).make(model, dict(rows))
        history = history_of(config, model, made, place.cache, asked)
        code = " ".join([environment, *(code_digest(place.root, one) for one in _functions(model))])
        spec = spec_of(config, model, made, history)
        trainings = Trainings(spec, model, history, workers, place.cache, code)
        trainings.prune()
        setting = setting_of(config, model, history, trainings, asked)
        walks = _walked(setting, asked.policies, tell)
        return Replayed(
            model=model.name,
            metric=model.metric,
            first=history.first,
            last=history.ticks[-1].newest,
            rows=len(history.times),
            walks=walks,
            recommendation=recommend(walks),
            seconds=time.perf_counter() - began,
            distinct=trainings.cost.done + trainings.cost.kept,
            training_seconds=trainings.cost.used,
            kept=trainings.cost.kept,
            jobs=asked.jobs,
            left_out=left_out,
        )
    finally:
        workers.close()


def measured(model: ModelConfig) -> tuple[ModelConfig, tuple[str, ...]]:
    """The model without the gates that need the model server or further trainings; their names."""
    plain = GatesConfig()
    names = [name for name in _NOT_MEASURED if getattr(model.gates, name) != getattr(plain, name)]
    gates = replace(model.gates, latency_p99_ms=None, memory_mb=None, size_mb=None, backtest=None, reproducible=None)
    return replace(model, gates=gates), tuple(names)


def history_of(config: ProjectConfig, model: ModelConfig, made: Made, cache: Path, asked: Asked) -> History:
    source = made.inputs[0]
    if source.time is None or source.label is None:
        raise Conflict(
            f"model {model.name} cannot be replayed: its first input has no label and time",
            hint="Give its dataset `time` and `label` in conveyor.toml, and keep both in the step.",
        )
    name = blake3(f"{source.paths} {asked.first} {asked.last}".encode()).hexdigest()[:24]
    path = cache / f"history-{name}.parquet"
    if not path.exists():
        sorted_rows(Path(source.paths[0]), source, path, asked.first, asked.last)
    start = asked.first - timedelta(microseconds=1) if asked.first else None
    history = History(path, source, model.positive, asked.tick, start)
    if len(history.ticks) < 2:
        raise InputRejected(
            f"{len(history.times):,} rows lie in one tick", hint="Choose a shorter --tick, or a longer time."
        )
    return history


def spec_of(config: ProjectConfig, model: ModelConfig, made: Made, history: History) -> TrainSpec:
    first = made.inputs[0]
    assert first.label is not None
    assert first.time is not None
    inputs = (replace(first, paths=(str(history.path),)), *made.inputs[1:])
    spec = train_spec(config, model, inputs, first.label, first.time, history.ticks[-1].newest)
    return replace(spec, twice=False)  # whether a training is reproducible is not played


def setting_of(
    config: ProjectConfig, model: ModelConfig, history: History, trainings: Trainings, asked: Asked
) -> Setting:
    label = config.data[sources_of(config, model.inputs)[0].name].label
    return Setting(
        model=model,
        history=history,
        trainings=trainings,
        delay=label.delay if label else timedelta(0),
        banned=tuple(column for data in datasets_of(config, model.inputs) for column in data.banned),
        block=asked.block,
        scored_from=asked.scored_from or asked.live_from or history.ticks[0].after,
        live_from=asked.live_from or history.ticks[0].after,
        due=lambda schedule, ticked, now: next(CronSim(schedule, ticked)) <= now,
    )


def _walked(setting: Setting, policies: tuple[Policy, ...], tell: Tell) -> tuple[Walked, ...]:
    """Side by side: what one trains, another finds."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(policies)))
    try:
        flying = {pool.submit(Walk(setting, policy).run): policy for policy in policies}
        done: dict[str, Walked] = {}
        for future in as_completed(flying):
            walk = future.result()
            done[walk.policy.name] = walk
            tell(walk)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return tuple(done[policy.name] for policy in policies)


def _functions(model: ModelConfig) -> tuple[str, ...]:
    judged = [*model.metrics, *([f"{model.gates.behaviour}:x"] if model.gates.behaviour else [])]
    return (model.train, *judged)


def _file(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
