"""The recipe of a parity check: the model's steps are run on the data as known now, and compared with what was served.

The steps see no label that was not known at a row's time, as in a training, so that what they make of an old row is
what they would have made of it then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery.collect import need_built
from conveyor.delivery.inputs import Inputs, sources_of, steps_before
from conveyor.delivery.lookup import latest_build, latest_data, manifest_of
from conveyor.delivery.project_steps import ProjectSteps, new_step
from conveyor.delivery.step_desk import Find
from conveyor.domain import families, wire
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.parity import ParityReport, ParitySpec
from conveyor.domain.plan import edges_of
from conveyor.domain.release import Build
from conveyor.domain.requests import CheckParity
from conveyor.domain.run import Run, Step
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import BUILDS, DATASET_VERSIONS, RUNS
from conveyor.stores.records import Transaction

KIND, STEP = "parity", "parity"
_REPORT = "parity.json"


class ParityRecipe:
    kind = KIND
    at_once = 1

    def __init__(self, context: Context, steps: ProjectSteps) -> None:
        self._context = context
        self._steps = steps

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            served = tx.need(DATASET_VERSIONS, run.params["served"])
        if step.name != STEP:
            return self._steps.prepare(run, build, step.name, job)
        model = build.config.models[run.params["model"]]
        resolved = Inputs(context, build.config, run, job / "inputs").resolve(model.inputs[0])
        since = _since(served, run.params["seconds"])
        parts = manifest_of(context.objects, served).within(since, None).parts
        spec = ParitySpec(
            made=resolved.spec,
            served=tuple(str(context.objects.path(part.digest)) for part in parts),
            features={name: families.column(name) for name in run.params["features"]},
            since=since,
        )
        return self._steps.python(build, "parity", job, spec, None)

    def complete(self, run: Run, tx: Transaction) -> Run:
        report = wire.from_json(self._context.objects.get(run.step(STEP).outputs[_REPORT]), ParityReport)
        return replace(run, result=wire.to_builtins(report))

    def failed(self, run: Run, tx: Transaction) -> None:
        """Nothing follows from it."""


class ParityDesk:
    def __init__(self, context: Context, poke: Callable[[], None], find: Find) -> None:
        self._context = context
        self._poke = poke
        self._find = find

    def start(self, project: str, model: str, asked: CheckParity) -> Run:
        """Raises what is missing before anything is started."""
        context = self._context
        with context.records.read() as tx:
            build = latest_build(tx, project)
            if build is None or model not in build.config.models:
                names = ", ".join(build.config.models) if build else "none: nothing was pushed yet"
                raise NotFound(f"there is no model {model!r} in project {project!r}", hint=f"Declared are: {names}.")
            served = latest_data(tx, project, families.predictions(model))
            data = self._data(tx, build, build.config.models[model].inputs)
        need_built(context.settings, build)
        if served is None:
            raise Conflict(
                f"{model} has no predictions on record yet",
                hint="They become a dataset some minutes after they were asked for; send the key with each request.",
            )
        run = self._run(build, model, served, data, asked)
        with context.records.transaction() as tx:
            tx.put(RUNS, run)
            about = {"kind": run.kind, "about": run.subject}
            tx.append(context.event("run.started", f"run/{run.id}", project, **about))
        self._poke()
        return run

    def _run(self, build: Build, model: str, served: DatasetVersion, data: dict[str, int], asked: CheckParity) -> Run:
        config = build.config
        declared, edges = config.models[model], edges_of(config.steps)
        features = declared.features or tuple(
            name for name in served.schema if name not in families.COLUMNS and not name.startswith("feature_")
        )
        names = steps_before(config, declared.inputs)
        steps = [new_step(config.steps[name], edges[name]) for name in names]
        steps.append(Step(STEP, needs=names, timeout=timedelta(hours=1)))
        params = {
            "build": build.id,
            "data": {**data, served.name: served.version},
            "model": model,
            "served": served.id,
            "features": list(features),
            "seconds": asked.window.total_seconds(),
        }
        context = self._context
        reason = f"features of {served.name}@v{served.version}"
        subject = f"{build.project}/{model}"
        return Run(
            context.new_id(), build.project, KIND, subject, params, tuple(steps), context.clock.now(), reason=reason
        )

    def _data(self, tx: Transaction, build: Build, inputs: tuple[str, ...]) -> dict[str, int]:
        found = {one.key: self._find(tx, build, one) for one in sources_of(build.config, inputs)}
        lacking = [key for key, version in found.items() if version is None]
        if lacking:
            raise Conflict(f"dataset {lacking[0]} has nothing in it yet", hint="Its rows are what is compared with.")
        return {key: version.version for key, version in found.items() if version is not None}


def _since(served: DatasetVersion, seconds: float) -> datetime | None:
    return served.last - timedelta(seconds=seconds) if served.last else None
