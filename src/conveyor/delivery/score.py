"""The recipe of a batch scoring: parts of a dataset go through a model version and become a version of `scores/NAME`.

Each step has some parts, and its result is kept by what it is made of: after a crash the next step goes on, and a
later scoring by the same version scores only parts that are new.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery.lineage_index import scored_by, scored_of
from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.delivery.project_steps import ProjectSteps
from conveyor.delivery.successor import size
from conveyor.domain import derived, wire
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.lineage import Link
from conveyor.domain.model import ModelVersion
from conveyor.domain.release import Build
from conveyor.domain.requests import ScoreDataset
from conveyor.domain.run import Run, Step
from conveyor.domain.scoring import ScoreReport, ScoreSpec, groups
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import Conflict
from conveyor.sdk import sketch
from conveyor.sdk.describe import merged, profile
from conveyor.stores import manifests
from conveyor.stores.collections import BUILDS, DATASET_VERSIONS, LINKS, MODEL_VERSIONS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

KIND = "score"
_FORMAT = 1  # of the results; another one is not taken from what is kept
_OUTPUT, _SKETCHES, _REPORT = "scores.parquet", "sketches", "report.json"


def new_run(
    id_: str,
    build: Build,
    model: ModelVersion,
    data: DatasetVersion,
    asked: ScoreDataset,
    keep: tuple[str, ...],
    parts: Sequence[Part],
    now: datetime,
) -> Run:
    count = len(groups(parts))
    steps = tuple(Step(f"score-{number}", timeout=timedelta(hours=2), retries=1) for number in range(1, count + 1))
    params = {
        "build": build.id,
        "model": model.id,
        "dataset": data.id,
        "data": {data.name: data.version},  # what it read: an erasure looks here
        "output": asked.output,
        "keep": list(keep),
        "since": asked.since.isoformat() if asked.since else None,
        "until": asked.until.isoformat() if asked.until else None,
    }
    reason = f"{data.name}@v{data.version} by {model.name}@v{model.version}"
    return Run(id_, build.project, KIND, f"{build.project}/{asked.output}", params, steps, now, reason=reason)


class ScoreRecipe:
    kind = KIND
    at_once = 2

    def __init__(self, context: Context, steps: ProjectSteps) -> None:
        self._context = context
        self._steps = steps

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            model = tx.need(MODEL_VERSIONS, run.params["model"])
            data = tx.need(DATASET_VERSIONS, run.params["dataset"])
        config = build.config
        declared = derived.find(config, data.name)
        time = declared.time if declared else None
        parts = self._group(run, data, step)
        artifact = job / "artifact"
        artifact.mkdir(parents=True, exist_ok=True)
        for file, digest in model.artifact.items():
            shutil.copyfile(context.objects.path(digest), artifact / file)
        trusted = config.models[model.name].trusted if model.name in config.models else ()
        spec = ScoreSpec(
            artifact=str(artifact),
            model=model.id,
            paths=tuple(str(context.objects.path(part.digest)) for part in parts),
            keep=tuple(run.params["keep"]),
            time=time,
            since=_moment(run.params["since"]),
            until=_moment(run.params["until"]),
            trusted=trusted,
        )
        what = [_FORMAT, model.id, model.artifact, [part.digest for part in parts], spec.keep, time, *_window(run)]
        return self._steps.python(build, "score", job, spec, f"score:{digest_bytes(wire.to_json(what))}")

    def complete(self, run: Run, tx: Transaction) -> Run:
        context = self._context
        data, model = tx.need(DATASET_VERSIONS, run.params["dataset"]), tx.need(MODEL_VERSIONS, run.params["model"])
        name = run.params["output"]
        previous = latest_data(tx, run.project, name)
        made = [(step, self._report(step)) for step in run.steps]
        made = [(step, report) for step, report in made if report.rows]
        parts = tuple(
            _part(context, step, report, f"{data.name}@v{data.version}, {step.name}") for step, report in made
        )
        sketches = merged(sketch.from_bytes(context.objects.get(step.outputs[_SKETCHES])) or {} for step, _ in made)
        told = replace(profile(sketches), sketches=context.objects.put(sketch.to_bytes(sketches))) if made else None
        manifest = Manifest(parts)
        refused = sum((Counter(report.refused) for _, report in made), Counter[str]())
        version = DatasetVersion(
            project=run.project,
            name=name,
            version=previous.version + 1 if previous else 1,
            parent=previous.version if previous else None,
            manifest=manifests.put(context.objects, manifest, previous.manifest if previous else ""),
            rows=manifest.rows,
            bytes=manifest.bytes,
            schema=made[0][1].schema if made else {},
            created=context.clock.now(),
            first=manifest.first,
            last=manifest.last,
            profile=told,
            reason=run.reason,
            sources=(f"{data.name}@v{data.version}", f"{model.name}@v{model.version}"),
        )
        tx.put(DATASET_VERSIONS, version)
        self._link(tx, version, data, model)
        self._tell(tx, version, previous.rows if previous else 0)
        figures = {"output": version.id, "version": version.version, "rows": version.rows, "refused": dict(refused)}
        return replace(run, result=figures)

    def failed(self, run: Run, tx: Transaction) -> None:
        """What was scored is kept by its key; the next scoring goes on from there."""

    def _group(self, run: Run, data: DatasetVersion, step: Step) -> tuple[Part, ...]:
        manifest = manifest_of(self._context.objects, data)
        found = groups(manifest.within(*map(_moment, _window(run))).parts)
        if len(found) != len(run.steps):
            raise Conflict(f"rows of {data.id} were erased meanwhile", hint="Score it again.")
        return found[int(step.name.rpartition("-")[2]) - 1]

    def _report(self, step: Step) -> ScoreReport:
        return wire.from_json(self._context.objects.get(step.outputs[_REPORT]), ScoreReport)

    def _link(self, tx: Transaction, version: DatasetVersion, data: DatasetVersion, model: ModelVersion) -> None:
        for source, target in (
            (scored_of(data.id), version.id),
            (scored_of(model.id), version.id),
            (scored_by(version.id), data.id),
            (scored_by(version.id), model.id),
        ):
            tx.put(LINKS, Link(f"{source} > {target}", source, target))

    def _tell(self, tx: Transaction, version: DatasetVersion, replaced: int) -> None:
        tx.append(
            self._context.event(
                "data.version_created",
                f"data/{version.dataset}",
                version.project,
                version=version.version,
                rows=version.rows,
                new_rows=version.rows,
                until=version.last.isoformat() if version.last else None,
                files=list(version.sources),
                late=0,
                mode="replace",
                replaced=replaced,
            )
        )


def _part(context: Context, step: Step, report: ScoreReport, source: str) -> Part:
    digest = step.outputs[_OUTPUT]
    return Part(digest, report.rows, size(context.objects, digest), report.first, report.last, source, digest)


def _window(run: Run) -> tuple[str | None, str | None]:
    return run.params["since"], run.params["until"]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
