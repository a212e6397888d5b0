"""`conveyor reproduce`: the training of a version done again, from nothing that was kept, and compared with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from conveyor import __version__
from conveyor.config.settings import Settings
from conveyor.delivery import attest
from conveyor.delivery.train import KIND as TRAINING
from conveyor.delivery.train import TrainRecipe
from conveyor.domain import wire
from conveyor.domain.form import artifact_of
from conveyor.domain.model import ModelVersion
from conveyor.domain.provenance import PAYLOAD, materials_of
from conveyor.domain.release import Build
from conveyor.domain.reproduction import changes, judge
from conveyor.domain.run import Run, Step, StepState
from conveyor.domain.step import COMPARE, EVALUATE, TRAIN, CompareReport, CompareSpec
from conveyor.effects import envs
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import BUILDS, MODEL_VERSIONS, RUNS
from conveyor.stores.records import Transaction

KIND = "reproduce"
HOLDOUT = "holdout.parquet"
CONVEYOR = "conveyor"


def new_run(context: Context, tx: Transaction, version: ModelVersion) -> Run:
    """Same build, data, params and seed as the version's own run. Refuses what cannot be trained again."""
    if not version.artifact:
        raise Conflict(f"{version.id} was removed: there is nothing to compare with", hint="Name another version.")
    run = tx.get(RUNS, version.run)
    if run is None or run.kind != TRAINING:
        raise Conflict(f"{version.id} was not trained here", hint="Only what Conveyor trained can be trained again.")
    _need_present(context.settings, tx.need(BUILDS, run.params["build"]))
    steps = [_fresh(step) for step in run.steps if step.name in _upstream(run)]
    steps.append(Step(COMPARE, needs=(TRAIN,), timeout=timedelta(hours=1)))
    params = run.params | {"reproduces": version.id}
    reason = f"{version.id} is trained again"
    return Run(
        context.new_id(), run.project, KIND, run.subject, params, tuple(steps), context.clock.now(), reason=reason
    )


def _upstream(run: Run) -> set[str]:
    """The training, and the steps that it needs."""
    wanted, todo = set[str](), [TRAIN]
    while todo:
        name = todo.pop()
        wanted.add(name)
        todo += [need for need in run.step(name).needs if need not in wanted]
    return wanted - {EVALUATE}


def _fresh(step: Step) -> Step:
    return replace(step, state=StepState.PENDING, attempt=0, key=None, outputs={}, started=None, ended=None, error="")


def _need_present(settings: Settings, build: Build) -> None:
    if not ((settings.builds / build.tree).is_dir() and envs.ready(settings.envs / build.environment)):
        raise NotFound(
            f"the build of commit {build.commit[:12]} was collected, so nothing can be trained in it",
            hint=f"Push commit {build.commit[:12]} again: the same commit gives the same build.",
        )


class ReproduceRecipe(TrainRecipe):
    kind = KIND

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        if step.name != COMPARE:
            return replace(super().prepare(run, step, job), key=None)  # what was kept proves nothing
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            version = tx.need(MODEL_VERSIONS, run.params["reproduces"])
            original = tx.get(RUNS, version.run)
        trained = run.step(TRAIN).outputs
        kept = original.step(TRAIN).outputs.get(HOLDOUT, "") if original else ""
        holdout = kept if kept and context.objects.has(kept) else trained[HOLDOUT]
        for name, artifact in (("then", version.artifact), ("again", artifact_of(trained))):
            (job / name).mkdir(parents=True, exist_ok=True)
            for file, digest in artifact.items():
                shutil.copyfile(context.objects.path(digest), job / name / file)
        trusted = build.config.models[version.name].trusted
        place = str(context.objects.path(holdout))
        spec = CompareSpec(str(job / "then"), str(job / "again"), place, trusted)
        return self._steps.python(build, COMPARE, job, spec, None)

    def complete(self, run: Run, tx: Transaction) -> Run:
        """No version is made; what came of it is the run's result."""
        context = self._context
        version = tx.need(MODEL_VERSIONS, run.params["reproduces"])
        build, original = tx.need(BUILDS, run.params["build"]), tx.get(RUNS, version.run)
        trained = run.step(TRAIN).outputs
        report = wire.from_json(context.objects.get(run.step(COMPARE).outputs["compared.json"]), CompareReport)
        kept = original.step(TRAIN).outputs.get(HOLDOUT) if original else None
        found = judge(
            version.id,
            version.artifact,
            artifact_of(trained),
            report,
            holdout=kept == trained[HOLDOUT],
            changed=self._changed(tx, build, version),
        )
        return replace(run, result=wire.to_builtins(found))

    def _changed(self, tx: Transaction, build: Build, version: ModelVersion) -> tuple[str, ...]:
        """By the signed statement: which materials are not what they were, and whether Conveyor is another."""
        if not version.provenance:
            return ()
        raw = attest.signer(self._context.settings).verify(self._context.objects.get(version.provenance), PAYLOAD)
        then = json.loads(raw)
        now = attest.materials(tx, build, replace(version, code=self.code(build, build.config.models[version.name])))
        worked = then["predicate"]["runDetails"]["builder"]["version"][CONVEYOR]
        differs = changes(materials_of(then), {each.uri: each.digest for each in now})
        return (*differs, *(() if worked == __version__ else (f"conveyor {worked} -> {__version__}",)))
