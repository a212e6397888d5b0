"""Runs as OpenLineage events (https://openlineage.io/spec/2-0-2/OpenLineage.json). Pure.

Each run is a job `<kind>.<subject>`; each step of a training is a job of its own below it. A run's id is a UUID that
follows from ours, so that an event which is sent twice is the same event.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conveyor.domain.dataset import DatasetProfile, DatasetVersion
from conveyor.domain.run import Run, RunState, Step, StepState

PRODUCER = "urn:conveyor"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_SPACE = uuid.UUID("7a5c4a0e-5d3b-4d0e-9b0a-0c6f6b6e1d11")
_ENDED = {RunState.SUCCEEDED: "COMPLETE", RunState.FAILED: "FAIL", RunState.CANCELLED: "ABORT"}
_STEP_ENDED = {StepState.SUCCEEDED: "COMPLETE", StepState.CACHED: "COMPLETE", StepState.FAILED: "FAIL"}
KINDS = ("ingest", "fetch", "train")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the code of a run is: a commit of the built-in remote."""

    url: str
    commit: str
    branch: str = "main"


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset that was read or written. `rejected`: rule -> rows that broke it, `checked` of so many."""

    name: str
    version: str = ""
    schema: dict[str, str] = field(default_factory=dict)
    profile: DatasetProfile | None = None
    rows: int | None = None
    bytes: int | None = None
    rules: tuple[tuple[str, str], ...] = ()  # column and rule that are demanded
    rejected: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, version: DatasetVersion, **more: Any) -> Data:
        return cls(version.name, str(version.version), version.schema, version.profile, **more)


def run_id(run: str, step: str = "") -> str:
    return str(uuid.uuid5(_SPACE, f"{run}/{step}" if step else run))


def events(
    run: Run, namespace: str, when: datetime, *, source: Source | None, inputs: Sequence[Data], outputs: Sequence[Data]
) -> list[dict[str, Any]]:
    """What is to be told of a run that began, or that ended: then of its steps too."""
    if run.state is RunState.RUNNING:
        return [_event("START", run.created, _run(run), _job(run, namespace, source), inputs, (), namespace)]
    told = list(_steps(run, namespace, source)) if run.kind == "train" else []
    kind = _ENDED[run.state]
    facets = _error(run.error) if kind == "FAIL" else {}
    written = outputs if kind == "COMPLETE" else ()
    told.append(
        _event(kind, run.ended or when, _run(run, facets), _job(run, namespace, source), inputs, written, namespace)
    )
    return told


def _steps(run: Run, namespace: str, source: Source | None) -> Iterator[dict[str, Any]]:
    for step in run.steps:
        kind = _STEP_ENDED.get(step.state)
        if kind is None or step.started is None or step.ended is None:
            continue
        parent = _parent(run, namespace)
        about = {"runId": run_id(run.id, step.name), "facets": parent}
        job = _job(run, namespace, source, step)
        yield _event("START", step.started, about, job, (), (), namespace)
        ended = {"runId": about["runId"], "facets": parent | (_error(step.error) if kind == "FAIL" else {})}
        yield _event(kind, step.ended, ended, job, (), (), namespace)


def _event(
    kind: str,
    when: datetime,
    run: dict[str, Any],
    job: dict[str, Any],
    inputs: Sequence[Data],
    outputs: Sequence[Data],
    namespace: str,
) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": when.isoformat(),
        "producer": PRODUCER,
        "schemaURL": _SPEC,
        "run": run,
        "job": job,
        "inputs": [_dataset(each, namespace, written=False) for each in inputs],
        "outputs": [_dataset(each, namespace, written=True) for each in outputs],
    }


def _run(run: Run, facets: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"runId": run_id(run.id), "facets": facets or {}}


def _job(run: Run, namespace: str, source: Source | None, step: Step | None = None) -> dict[str, Any]:
    name = f"{run.kind}.{run.subject.partition('/')[2]}" + (f".{step.name}" if step else "")
    kind = "STEP" if step else "RUN"
    facets = {"jobType": _facet("2-0-4/JobTypeJobFacet", processingType="BATCH", integration="CONVEYOR", jobType=kind)}
    if source is not None:
        facets["sourceCodeLocation"] = _facet(
            "1-1-0/SourceCodeLocationJobFacet", type="git", url=source.url, repoUrl=source.url,
            version=source.commit, branch=source.branch,
        )  # fmt: skip
    return {"namespace": namespace, "name": name, "facets": facets}


def _parent(run: Run, namespace: str) -> dict[str, Any]:
    job = {"namespace": namespace, "name": f"{run.kind}.{run.subject.partition('/')[2]}"}
    return {"parent": _facet("1-2-0/ParentRunFacet", run={"runId": run_id(run.id)}, job=job)}


def _error(message: str) -> dict[str, Any]:
    return {
        "errorMessage": _facet(
            "1-0-1/ErrorMessageRunFacet", message=message or "it failed", programmingLanguage="python"
        )
    }


def _dataset(data: Data, namespace: str, *, written: bool) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if data.version:
        facets["version"] = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=data.version)
    if data.schema:
        fields = [{"name": name, "type": dtype} for name, dtype in data.schema.items()]
        facets["schema"] = _facet("1-2-0/SchemaDatasetFacet", fields=fields)
    made = {"namespace": namespace, "name": data.name, "facets": facets}
    if data.rules or data.rejected:
        facets["dataQualityAssertions"] = _facet(
            "1-1-0/DataQualityAssertionsDatasetFacet", assertions=list(_assertions(data))
        )
    if data.profile is not None:
        facets["dataQualityMetrics"] = _metrics(data.profile)
    if written and data.rows is not None:
        size = {} if data.bytes is None else {"size": data.bytes}
        statistics = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=data.rows, **size)
        made["outputFacets"] = {"outputStatistics": statistics}
    return made


def _metrics(profile: DatasetProfile) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, column in profile.columns.items():
        told: dict[str, Any] = {"nullCount": column.nulls, "distinctCount": column.distinct}
        told |= {
            word: float(value)
            for word, value in (("min", column.min), ("max", column.max))
            if isinstance(value, int | float)
        }
        columns[name] = told
    return _facet("1-0-1/DataQualityMetricsDatasetFacet", rowCount=profile.rows, columnMetrics=columns)


def _assertions(data: Data) -> Iterator[dict[str, Any]]:
    demanded = {f"{column}:{rule}": (column, rule) for column, rule in data.rules}
    for name in sorted({*demanded, *data.rejected}):
        column, _, rule = name.partition(":")
        told = {"assertion": rule or name, "success": name not in data.rejected}
        if rule:
            told["column"] = column
        if name in data.rejected:
            told["actual"] = f"{data.rejected[name]} rows break it"
        yield told


def _facet(schema: str, **content: Any) -> dict[str, Any]:
    name = schema.partition("/")[2]
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{schema}.json#/$defs/{name}", **content}
