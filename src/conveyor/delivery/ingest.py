"""The recipe of an ingest: files are checked in the project's environment and become a dataset version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.delivery.successor import manifest_after, profile_of, size, spec_after
from conveyor.domain import derived, erasure, wire
from conveyor.domain.dataset import DatasetVersion, IngestedFile, IngestReport, Manifest, Part
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, RunState, Step
from conveyor.domain.state import Arrival, Quarantined
from conveyor.domain.step import IngestFile
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.stores import manifests
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


def ended_by_itself(error: str) -> bool:
    """Whether a step's error is that of a process that was killed, aborted or lost, not one that could say why."""
    return re.search(r"exit code 1[2-9]\d\b|vanished|timed out", error) is not None


def _dataset(build: Build, run: Run) -> DataConfig:
    return derived.find(build.config, run.params["dataset"]) or DataConfig(run.params["dataset"])


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
        spec = replace(
            spec_after(context.objects, _dataset(build, run), previous),
            files=tuple(IngestFile(str(context.objects.path(a.digest)), a.file, a.force) for a in arrivals),
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
            return self._again(run, arrivals, tx, "a subject was erased meanwhile")
        previous = latest_data(tx, run.project, dataset)
        if report.base != (previous.manifest if previous else ""):
            return self._again(run, arrivals, tx, "the dataset changed meanwhile")
        number = previous.version + 1 if previous else 1
        parts = [
            self._file(tx, run, arrival, file, outputs, number)
            for arrival, file in zip(arrivals, report.files, strict=True)
        ]
        added = tuple(part for part in parts if part is not None)
        if not added:
            return replace(run, result={"accepted": 0})
        mode = _dataset(tx.need(BUILDS, run.params["build"]), run).mode
        before = Manifest() if mode == "replace" else manifest_of(context.objects, previous)
        manifest = manifest_after(context.objects, before, report, outputs, added)
        version = DatasetVersion(
            project=run.project,
            name=dataset,
            version=number,
            parent=previous.version if previous else None,
            manifest=manifests.put(context.objects, manifest, previous.manifest if previous else ""),
            rows=manifest.rows,
            bytes=manifest.bytes,
            schema=report.schema,
            created=context.clock.now(),
            first=manifest.first,
            last=manifest.last,
            profile=profile_of(report, outputs),
            reason=run.reason,
            sources=tuple(part.source for part in added),
        )
        tx.put(DATASET_VERSIONS, version)
        gone = previous.rows if previous and mode == "replace" else sum(part.replaced for part in report.rewritten)
        return self._tell(tx, run, version, {"mode": mode, "replaced": gone}, report, added)

    def _tell(
        self,
        tx: Transaction,
        run: Run,
        version: DatasetVersion,
        how: dict[str, Any],
        report: IngestReport,
        added: tuple[Part, ...],
    ) -> Run:
        rows = sum(part.rows for part in added)
        tx.append(
            self._context.event(
                "data.version_created",
                f"data/{version.dataset}",
                run.project,
                version=version.version,
                rows=version.rows,
                new_rows=rows,
                until=version.last.isoformat() if version.last else None,
                files=list(version.sources),
                late=sum(file.late for file in report.files),
                **how,
            )
        )
        return replace(run, result={"version": version.version, "new_rows": rows, "replaced": how["replaced"]})

    def _again(self, run: Run, arrivals: Sequence[Arrival], tx: Transaction, why: str) -> Run:
        """What its process was told holds no more."""
        for arrival in arrivals:
            tx.put(ARRIVALS, replace(arrival, state="waiting", run=""))
        return replace(run, result={"accepted": 0, "again": why})

    def failed(self, run: Run, tx: Transaction) -> None:
        """The process died or was cancelled: the files are kept, and each says why it was not taken.

        Where one file of many may have ended it, they are tried again in halves, until that one is alone.
        """
        arrivals = [tx.need(ARRIVALS, id_) for id_ in run.params["arrivals"]]
        ended = ended_by_itself(run.error)
        if run.state is RunState.CANCELLED or (ended and len(arrivals) > 1):
            half = len(arrivals) // 2 if ended else 0
            for arrival in arrivals:
                tx.put(ARRIVALS, replace(arrival, state="waiting", run="", together=half or arrival.together))
            return
        error, hint = run.error, "See the run's log; add the file again once the cause is mended."
        if ended:
            limits = _dataset(tx.need(BUILDS, run.params["build"]), run).limits
            error = f"the process that read it ended by itself ({run.error})"
            hint = (
                f"Most likely it needs more than the {limits.memory_mb:,} MB of memory that it may use: send it in "
                "parts, or raise `limits.memory_mb` of the dataset in conveyor.toml."
            )
        for arrival in arrivals:
            self._refuse(tx, run, arrival, error, hint)

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
        tx.put(ARRIVALS, replace(arrival, state="taken", note=_note(file)))
        if file.output is None:
            return None
        digest = outputs[file.output]
        sketches = outputs[file.sketches] if file.sketches else ""
        times = file.first, file.last
        return Part(digest, file.rows, size(context.objects, digest), *times, arrival.file, arrival.digest, sketches)

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


def _note(file: IngestedFile) -> str:
    """What became of a file's rows, for a person."""
    more = (
        (file.quarantined, "in quarantine"),
        (file.superseded, "replaced by a later file"),
        (file.late, "late: older than what was known"),
    )
    return f"{file.rows:,} rows taken" + "".join(f", {count:,} {what}" for count, what in more if count)
