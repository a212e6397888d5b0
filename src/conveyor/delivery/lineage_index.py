"""The controller that keeps links for lineage: read from the event log, so it catches up with all there ever was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conveyor.domain import wire
from conveyor.domain.events import Event
from conveyor.domain.lineage import ALWAYS, Link, Served, months
from conveyor.domain.model import ModelVersion
from conveyor.domain.source import read_of
from conveyor.domain.state import Cursor
from conveyor.domain.step import TrainingReport
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.stores.collections import CURSORS, LINKS, MODEL_VERSIONS, RELEASES, RUNS, SERVED, WINDOWS
from conveyor.stores.records import Transaction

_EVERY, _CURSOR, _PAGE = 0.5, "lineage", 200
_TYPES = ("data.arrived", "model.version_created", "model.refused", "release.created", "monitor.window_closed")


def by_object(project: str, dataset: str, digest: str) -> str:
    return f"object/{project}/{dataset}/{digest}"


def by_name(project: str, dataset: str, file: str) -> str:
    return f"name/{project}/{dataset}/{file}"


def by_version(dataset_version: str) -> str:
    return f"data/{dataset_version}"


def by_month(dataset: str, month: str) -> str:
    return f"month/{dataset}/{month}"


def by_model(model_version: str) -> str:
    return f"model/{model_version}"


def scored_of(id_: str) -> str:
    """Where the results of scoring a dataset version, or by a model version, are looked up."""
    return f"scored/{id_}"


def scored_by(dataset_version: str) -> str:
    """Where the rows and the model are looked up that a result of a scoring came of."""
    return f"scores/{dataset_version}"


class LineageIndex:
    name = "lineage"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen = -1

    def turn(self) -> float:
        revision = self._context.records.revision
        if revision == self._seen:
            return _EVERY
        with self._context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR) or Cursor(_CURSOR)
            events = tx.events(after=cursor.seq, types=_TYPES, limit=_PAGE)
        if not events:
            self._seen = revision
            return _EVERY
        with self._context.transaction() as tx:
            for event in events:
                self._read(tx, event)
            tx.put(CURSORS, replace(cursor, seq=events[-1].seq))
        return 0.0

    def _read(self, tx: Transaction, event: Event) -> None:
        if event.type == "data.arrived":
            self._arrived(tx, event)
        elif event.type == "release.created":
            self._released(tx, event)
        elif event.type == "monitor.window_closed":
            self._served(tx, event)
        else:
            version = tx.get(MODEL_VERSIONS, f"{event.subject.removeprefix('model/')}@{event.data['version']}")
            if version is not None:
                self._trained(tx, version)

    def _arrived(self, tx: Transaction, event: Event) -> None:
        dataset = event.subject.removeprefix(f"data/{event.project}/")
        digest, file = event.data["digest"], event.data["file"]
        arrival = event.data.get("arrival") or f"{event.project}/{dataset}/{digest}"
        _link(tx, by_object(event.project, dataset, digest), arrival)
        _link(tx, by_name(event.project, dataset, file), arrival)

    def _released(self, tx: Transaction, event: Event) -> None:
        environment = event.subject.removeprefix("environment/")
        release = tx.get(RELEASES, f"{environment}/{event.data['release']}")
        if release is not None:
            for name, version in release.models.items():
                _link(tx, by_model(f"{release.project}/{name}@{version}"), release.id)

    def _served(self, tx: Transaction, event: Event) -> None:
        id_ = f"{event.subject.removeprefix('model/')}@{event.data['version']}"
        window = tx.get(WINDOWS, f"{id_}#{event.data['window']}")
        if window is not None:
            known = tx.get(SERVED, id_) or Served(id_, first=window.first)
            tx.put(SERVED, replace(known, rows=known.rows + window.rows, last=window.last))

    def _trained(self, tx: Transaction, version: ModelVersion) -> None:
        """By dataset version, and by each month of event time that it was trained or judged on."""
        spans = self._spans(tx, version)
        for name, number in read_of(version.data):
            dataset = f"{version.project}/{name}"
            _link(tx, by_version(f"{dataset}@{number}"), version.id)
            data: dict[str, Any] = {"version": number, **spans}
            found = {month for after, until in spans.values() for month in months(after, until)} or {ALWAYS}
            for month in sorted(found):
                _link(tx, by_month(dataset, month), version.id, data)

    def _spans(self, tx: Transaction, version: ModelVersion) -> dict[str, Any]:
        """`training` and `holdout` as (after, until]; none where the report is not there any more."""
        run = tx.get(RUNS, version.run)
        digest = run.step("train").outputs.get("training.json") if run else None
        try:
            raw = self._context.objects.get(digest) if digest else None
        except ConveyorError:
            raw = None
        if raw is None:
            return {}
        report = wire.from_json(raw, TrainingReport)
        slices = {"training": report.training, "holdout": report.holdout}
        return {name: (each.after, each.until) for name, each in slices.items()}


def _link(tx: Transaction, source: str, target: str, data: dict[str, Any] | None = None) -> None:
    tx.put(LINKS, Link(f"{source} > {target}", source, target, data or {}))
