"""The controller that tells an OpenLineage receiver of runs: from the event log, at least once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from conveyor.domain import openlineage
from conveyor.domain.events import Event
from conveyor.domain.openlineage import Data, Source
from conveyor.domain.run import Run, RunState
from conveyor.domain.source import read_of
from conveyor.domain.state import Cursor
from conveyor.effects.openlineage import deliver
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError, InputRejected
from conveyor.stores.collections import ARRIVALS, BUILDS, CURSORS, DATASET_VERSIONS, QUARANTINE, RUNS
from conveyor.stores.records import Transaction

_CURSOR = "openlineage"
_TYPES = ("run.started", "run.succeeded", "run.failed", "run.cancelled")
_PAGE = 50
_EVERY, _IDLE = 0.5, 5.0
_BACKOFF_MOST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Sent:
    """How far a batch came: the position behind the last event that was dealt with, and what stopped it."""

    seq: int
    refused: tuple[str, ...] = ()
    problem: str = ""


class OpenLineage:
    """Sends in a thread of its own; the cursor moves once a receiver has taken what was sent."""

    name = "openlineage"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._url = context.settings.openlineage_url
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="openlineage")
        self._sending: Future[_Sent] | None = None
        self._failures = 0
        self._until: datetime | None = None  # no sooner than this, after a failure
        self._revision = -1

    def turn(self) -> float:
        if not self._url:
            return _IDLE
        if self._sending is not None:
            if self._sending.done():
                sent, self._sending = self._sending, None
                self._settle(sent.result())
            return _EVERY
        now, revision = self._context.clock.now(), self._context.records.revision
        if (self._until is not None and now < self._until) or revision == self._revision:
            return _EVERY
        with self._context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR) or Cursor(_CURSOR)
            found = tx.events(after=cursor.seq, types=_TYPES, limit=_PAGE)
            batch = [(event.seq, list(self._told(tx, event))) for event in found]
        if batch:
            self._sending = self._pool.submit(_send, self._url, cursor.seq, batch)
        else:
            self._revision = revision
        return _EVERY

    def _settle(self, sent: _Sent) -> None:
        context = self._context
        with context.transaction() as tx:
            cursor = tx.get(CURSORS, _CURSOR) or Cursor(_CURSOR)
            tx.put(CURSORS, replace(cursor, seq=max(cursor.seq, sent.seq)))
            for refused in sent.refused:
                tx.append(context.event("lineage.failed", "control", error=refused, again=False))
            if sent.problem and not self._failures:
                tx.append(context.event("lineage.failed", "control", error=sent.problem, again=True))
        self._failures = self._failures + 1 if sent.problem else 0
        wait = min(timedelta(seconds=2 ** min(self._failures, 10)), _BACKOFF_MOST)
        self._until = context.clock.now() + wait if sent.problem else None

    # --- what there is to tell

    def _told(self, tx: Transaction, event: Event) -> Iterator[dict[str, Any]]:
        if event.data.get("kind") not in openlineage.KINDS:
            return
        run = tx.get(RUNS, event.subject.removeprefix("run/"))
        if run is None:
            return
        if event.type == "run.started":
            run = replace(run, state=RunState.RUNNING)
        inputs, outputs = self._data(tx, run)
        namespace = f"conveyor://{run.project}"
        source = self._source(tx, run)
        yield from openlineage.events(run, namespace, event.time, source=source, inputs=inputs, outputs=outputs)

    def _source(self, tx: Transaction, run: Run) -> Source | None:
        build = tx.get(BUILDS, run.params["build"])
        url = f"{self._context.settings.api_url}/git/{run.project}.git"
        return Source(url, build.commit, build.branch) if build else None

    def _data(self, tx: Transaction, run: Run) -> tuple[list[Data], list[Data]]:
        if run.kind == "train":
            found = (tx.get(DATASET_VERSIONS, f"{run.project}/{n}@{v}") for n, v in read_of(run.params["data"]))
            version = str(run.result.get("version", ""))
            return [Data.of(each) for each in found if each], [Data(f"model.{run.params['model']}", version)]
        dataset = run.params["dataset"]
        if run.kind == "fetch":
            build = tx.get(BUILDS, run.params["build"])
            config = build.config.data.get(dataset) if build else None
            name = (config.source or config.url or "source") if config else "source"
            return [Data(name)], [Data(dataset, rows=run.result.get("rows"))]
        return self._ingest(tx, run, dataset)

    def _ingest(self, tx: Transaction, run: Run, dataset: str) -> tuple[list[Data], list[Data]]:
        arrivals = [arrival for id_ in run.params["arrivals"] if (arrival := tx.get(ARRIVALS, id_))]
        inputs = [Data(f"{dataset}/{arrival.file}", arrival.digest) for arrival in arrivals]
        number = run.result.get("version")
        version = tx.get(DATASET_VERSIONS, f"{run.subject}@{number}") if number else None
        if version is None:
            return inputs, [Data(dataset)]
        build = tx.get(BUILDS, run.params["build"])
        config = build.config.data.get(dataset) if build else None
        rules = tuple((column, rule) for column, ruled in (config.rules if config else {}).items() for rule in ruled)
        rejected: dict[str, int] = {}
        for arrival in arrivals:
            held = tx.get(QUARANTINE, f"{arrival.id}/{run.id}")
            for rule, rows in (held.reasons if held else {}).items():
                rejected[rule] = rejected.get(rule, 0) + rows
        return inputs, [Data.of(version, rows=run.result.get("new_rows"), rules=rules, rejected=rejected)]


def _send(url: str, start: int, batch: list[tuple[int, list[dict[str, Any]]]]) -> _Sent:
    seq, refused = start, list[str]()
    for position, events in batch:
        for event in events:
            try:
                deliver(url, event)
            except InputRejected as error:
                refused.append(error.message)
            except ConveyorError as error:
                return _Sent(seq, tuple(refused), error.message)
        seq = position
    return _Sent(seq, tuple(refused))
