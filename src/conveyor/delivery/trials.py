"""The recipe of a trial: a training with other params, scored on rows that the gates of a version never see."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery import train
from conveyor.delivery.inputs import sources_of
from conveyor.delivery.train import TrainRecipe
from conveyor.domain import wire
from conveyor.domain.project import ModelConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run
from conveyor.domain.step import OF_TRAINING, TRAIN, TrainingReport, TrainSpec
from conveyor.domain.sweep import Sweep
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, job_dir
from conveyor.sdk.run import REPORTS, read_reports
from conveyor.stores.collections import BUILDS, DATASET_VERSIONS
from conveyor.stores.records import Transaction

KIND = "trial"


def new_run(id_: str, build: Build, sweep: Sweep, number: int, params: dict[str, object], now: datetime) -> Run:
    model = build.config.models[sweep.config.model]
    whole = train.new_run(id_, build, model, sweep.data, "sweep", f"trial {number} of sweep {sweep.id}", now)
    given = {**whole.params, "given": params, "sweep": sweep.id, "trial": number}
    steps = tuple(step for step in whole.steps if step.name == TRAIN or step.name not in OF_TRAINING)
    return replace(whole, kind=KIND, params=given, steps=steps)


class TrialRecipe(TrainRecipe):
    kind = KIND

    def __init__(self, context: Context, at_once: int) -> None:
        super().__init__(context)
        self.at_once = at_once

    def spec_of(self, run: Run, model: ModelConfig, spec: TrainSpec) -> TrainSpec:
        """A holdout earlier: what a sweep has chosen by cannot judge the version as well."""
        span = spec.holdout
        if span is None:
            # Without a holdout of its own a training holds out the newest fifth of its time; a sweep the one before.
            first = self._first(run)
            span = (spec.known_until - first) / 5 if first else timedelta(0)
        until = spec.known_until - span
        inputs = (replace(spec.inputs[0], known_until=until), *spec.inputs[1:])
        return replace(spec, known_until=until, inputs=inputs)

    def complete(self, run: Run, tx: Transaction) -> Run:
        report = wire.from_json(self._context.objects.get(run.step(TRAIN).outputs["training.json"]), TrainingReport)
        return replace(run, result={"value": report.value, "metrics": report.metrics})

    def _first(self, run: Run) -> datetime | None:
        with self._context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            one = sources_of(build.config, build.config.models[run.params["model"]].inputs)[0]
            number = run.params["data"][one.key]
            return tx.need(DATASET_VERSIONS, f"{run.project}/{one.name}@{number}").first

    def reported(self, run: Run) -> tuple[tuple[int, float], ...]:
        """What user code has reported until now: `run.report(step, value)`."""
        step = run.step(TRAIN)
        if REPORTS in step.outputs:
            return read_reports(self._context.objects.path(step.outputs[REPORTS]))
        return read_reports(_live(self._context, run))


def _live(context: Context, run: Run) -> Path:
    return job_dir(context.settings, run, run.step(TRAIN)) / OUT / REPORTS
