"""The recipe of an ingest: files are checked in the project's environment and become a dataset version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.domain import erasure, wire
from conveyor.domain.dataset import DatasetVersion, IngestedFile, IngestReport, Manifest, Part
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, RunState, Step
from conveyor.domain.state import Arrival, Quarantined
from conveyor.domain.step import IngestFile, IngestSpec
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.stores.collections import ARRIVALS, BUILDS, DATASET_VERSIONS, ERASURES, QUARANTINE
from conveyor.stores.records import Transaction

KIND = "ingest"


def new_run(id_: str, build: Build, data: DataConfig, arrivals: Sequence[Arrival], now: datetime) -> Run:
    params = {"dataset": data.name, "build": build.id, "arrivals": [arrival.id for arrival in arrivals]}
    step = Step("ingest", timeout=timedelta(minutes=30), retries=1)
    files = arrivals[0].file if len(arrivals) == 1 else f"{len(arrivals)} files"
    return Run(
        id_, build.project, KIND, f"{build.project}/{data.name}", params, (step,), now, reason=f"{files} arrived"
    )


class IngestRecipe:
    kind = KIND
    at_once = 2

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            arrivals = [tx.need(ARRIVALS, id_) for id_ in run.params["arrivals"]]
            previous = latest_data(tx, run.project, run.params["dataset"])
            erased = erasure.keys(tx.find(ERASURES, where={"dataset": run.subject}, limit=100_000))
        spec = IngestSpec(
            data=build.config.data[run.params["dataset"]],
            files=tuple(IngestFile(str(context.objects.path(a.digest)), a.file, a.force) for a in arrivals),
            schema=previous.schema if previous else None,
            erased=erased,
        )
        environment = context.settings.envs / build.environment
        return Command(
            argv=(str(environment / "bin" / "python"), "-m", "conveyor.sdk.ingest", str(job / SPEC), str(job / OUT)),
            cwd=context.settings.builds / build.tree,
            env=clean_environment(environment),
            spec=wire.to_json(spec),
        )

    def complete(self, run: Run, tx: Transaction) -> Run:
        context = self._context
        dataset = run.params["dataset"]
        outputs = run.step("ingest").outputs
        report = wire.from_json(context.objects.get(outputs["report.json"]), IngestReport)
        arrivals = [tx.need(ARRIVALS, id_) for id_ in run.params["arrivals"]]
        if report.erased != erasure.keys(tx.find(ERASURES, where={"dataset": run.subject}, limit=100_000)):
            return self._again(run, arrivals, tx)
        previous = latest_data(tx, run.project, dataset)
        number = previous.version + 1 if previous else 1
        parts = [
            self._file(tx, run, arrival, file, outputs, number)
            for arrival, file in zip(arrivals, report.files, strict=True)
        ]
        added = tuple(part for part in parts if part is not None)
        if not added:
            return replace(run, result={"accepted": 0})
        before = manifest_of(context.objects, previous)
        manifest = Manifest((*before.parts, *added))
        version = DatasetVersion(
            project=run.project,
            name=dataset,
            version=number,
            parent=previous.version if previous else None,
            manifest=context.objects.put(wire.to_json(manifest)),
            rows=manifest.rows,
            bytes=manifest.bytes,
            schema=report.schema,
            created=context.clock.now(),
            first=manifest.first,
            last=manifest.last,
            profile=report.profile,
            reason=run.reason,
            sources=tuple(part.source for part in added),
        )
        tx.put(DATASET_VERSIONS, version)
        rows = sum(part.rows for part in added)
        tx.append(
            context.event(
                "data.version_created",
                f"data/{run.project}/{dataset}",
                run.project,
                version=number,
                rows=version.rows,
                new_rows=rows,
                until=version.last.isoformat() if version.last else None,
                files=list(version.sources),
            )
        )
        return replace(run, result={"version": number, "new_rows": rows})

    def _again(self, run: Run, arrivals: Sequence[Arrival], tx: Transaction) -> Run:
        """Its process held back the rows of other subjects than those that are erased now."""
        for arrival in arrivals:
            tx.put(ARRIVALS, replace(arrival, state="waiting", run=""))
        return replace(run, result={"accepted": 0, "again": "a subject was erased meanwhile"})

    def failed(self, run: Run, tx: Transaction) -> None:
        """The process died or was cancelled: the files are kept, and each says why it was not taken."""
        for id_ in run.params["arrivals"]:
            arrival = tx.need(ARRIVALS, id_)
            if run.state is RunState.CANCELLED:
                tx.put(ARRIVALS, replace(arrival, state="waiting", run=""))
            else:
                self._refuse(
                    tx, run, arrival, run.error, "See the run's log; add the file again once the cause is mended."
                )

    def _file(
        self, tx: Transaction, run: Run, arrival: Arrival, file: IngestedFile, outputs: dict[str, str], version: int
    ) -> Part | None:
        """The part that a file became; None if it was refused or has no good row."""
        context = self._context
        if file.error is not None:
            self._refuse(tx, run, arrival, file.error, file.hint)
            return None
        subject = f"data/{arrival.project}/{arrival.name}"
        if file.quarantine is not None:
            digest = outputs[file.quarantine]
            tx.put(
                QUARANTINE,
                Quarantined(
                    f"{arrival.id}/{run.id}",
                    arrival.dataset,
                    arrival.file,
                    file.quarantined,
                    file.reasons,
                    digest,
                    version,
                    context.clock.now(),
                ),
            )
            tx.append(
                context.event(
                    "data.quarantined",
                    subject,
                    run.project,
                    file=arrival.file,
                    rows=file.quarantined,
                    reasons=file.reasons,
                )
            )
        note = f"{file.rows:,} rows taken" + (f", {file.quarantined:,} in quarantine" if file.quarantined else "")
        tx.put(ARRIVALS, replace(arrival, state="taken", note=note))
        if file.output is None:
            return None
        digest = outputs[file.output]
        size = context.objects.path(digest).stat().st_size
        return Part(digest, file.rows, size, file.first, file.last, arrival.file, arrival.digest)

    def _refuse(self, tx: Transaction, run: Run, arrival: Arrival, error: str, hint: str) -> None:
        tx.put(ARRIVALS, replace(arrival, state="refused", note=f"{error} {hint}".strip()))
        tx.append(
            self._context.event(
                "data.refused",
                f"data/{arrival.project}/{arrival.name}",
                run.project,
                file=arrival.file,
                error=error,
                hint=hint,
                kept_as=arrival.digest,
            )
        )
