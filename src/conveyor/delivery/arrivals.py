"""The controller of arrivals: watched files are taken over as objects, and what waits is ingested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from conveyor.delivery import ingest
from conveyor.delivery.lookup import Builds, latest_build, latest_data, manifest_of, open_runs
from conveyor.delivery.rows import Rows
from conveyor.delivery.watching import Watching
from conveyor.domain import derived, families
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.domain.run import RunState
from conveyor.domain.state import Arrival
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.stores.collections import ARRIVALS, RUNS
from conveyor.stores.records import Transaction

_EVERY, _BUSY = 0.5, 0.05
_BATCH = 100  # files in one ingest


def accept(
    context: Context, tx: Transaction, project: str, dataset: str, file: str, digest: str, *, again: bool = False
) -> Arrival | None:
    """Takes a file over whose bytes are already an object. A file with the same content is not taken twice: None.

    `again`: somebody means it now; of a dataset in mode "replace" it is then taken once more, unless it is what the
    dataset holds. A watched file that merely still lies there does not bring back what was replaced.
    """
    id_ = f"{project}/{dataset}/{digest}"
    earlier = tx.get(ARRIVALS, id_)
    subject = f"data/{project}/{dataset}"
    known = earlier is not None and earlier.state != "refused"
    if earlier is not None and known and not (again and _replaced(context, tx, earlier)):
        tx.append(context.event("data.duplicate", subject, project, file=file, same_as=earlier.file, digest=digest))
        return None
    arrival = Arrival(id_, project, dataset, file, digest, context.clock.now())
    tx.put(ARRIVALS, arrival)
    tx.append(context.event("data.arrived", subject, project, file=file, digest=digest))
    return arrival


def _replaced(context: Context, tx: Transaction, arrival: Arrival) -> bool:
    """Whether its rows were there and are not any more, in a dataset whose content is replaced as a whole."""
    build = latest_build(tx, arrival.project)
    data = derived.find(build.config, arrival.name) if build else None
    if data is None or data.mode != "replace" or arrival.state != "taken":
        return False
    newest = latest_data(tx, arrival.project, arrival.name)
    return newest is not None and manifest_of(context.objects, newest).holds(arrival.digest) is None


class Arrivals:
    name = "arrivals"

    def __init__(self, context: Context, rows: Rows) -> None:
        self._context = context
        self._builds = Builds(context)
        self._revision = -1  # of the records, when nothing waited that could be ingested
        self._watching = Watching(context, accept)
        self._rows = rows

    def turn(self) -> float:
        builds, waiting = self._builds(), False
        for build in builds:
            for data in _tables(build):
                self._rows.turn(build.project, data)
        revision = self._context.records.revision
        if revision != self._revision:
            for build in builds:
                for data in _tables(build):
                    self._free(build, data)
                    waiting |= self._ingest(build, data)
            self._revision = -1 if waiting else revision
        self._watching.turn(builds)  # last: what goes wrong there, a full disk say, holds nothing up here
        return _BUSY if self._watching.busy else _EVERY

    def _free(self, build: Build, data: DataConfig) -> None:
        """A file whose run is gone (records that were restored, say) waits again: none may wait for nobody."""
        where = {"dataset": f"{build.project}/{data.name}", "state": "ingesting"}
        with self._context.records.read() as tx:
            held = tx.find(ARRIVALS, where=where, limit=1000)
            stuck = [arrival for arrival in held if not _runs(tx, arrival.run)]
        if stuck:
            with self._context.transaction() as tx:
                for arrival in stuck:
                    tx.put(ARRIVALS, replace(arrival, state="waiting", run="", note=f"run {arrival.run} is gone"))

    def _ingest(self, build: Build, data: DataConfig) -> bool:
        """Starts an ingest of what waits; True while it waits for more files to come."""
        context = self._context
        with context.records.read() as tx:
            dataset = f"{build.project}/{data.name}"
            where = {"dataset": dataset, "state": "waiting"}
            waiting = tx.find(ARRIVALS, where=where, limit=_BATCH, newest=False)
            if not waiting or open_runs(tx, ingest.KIND, dataset):
                return False
        waiting = _batch(waiting)
        newest = max(arrival.created for arrival in waiting)
        oldest = min(arrival.created for arrival in waiting)
        now = context.clock.now()
        if now - newest < data.debounce and now - oldest < data.debounce + timedelta(seconds=5):
            return True
        run = ingest.new_run(context.new_id(), build, data, waiting, now)
        with context.transaction() as tx:
            for arrival in waiting:
                tx.put(ARRIVALS, replace(arrival, state="ingesting", run=run.id))
            tx.put(RUNS, run)
            tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))
        return False


def _tables(build: Build) -> Iterator[DataConfig]:
    """Those that rows arrive for."""
    yield from build.config.data.values()
    yield from (data for data in derived.derived(build.config) if data.name.startswith(families.LABELS))


def _batch(waiting: list[Arrival]) -> list[Arrival]:
    """As many of the oldest as each of them may be ingested with."""
    batch: list[Arrival] = []
    for arrival in waiting:
        most = min((each.together for each in (*batch, arrival) if each.together), default=_BATCH)
        if batch and len(batch) >= most:
            break
        batch.append(arrival)
    return batch


def _runs(tx: Transaction, run: str) -> bool:
    found = tx.get(RUNS, run)
    return found is not None and found.state is RunState.RUNNING


def table_of(build: Build | None, project: str, dataset: str) -> DataConfig:
    """As `configured`, of a dataset that has rows. Raises Conflict for one of files."""
    found = configured(build, project, dataset)
    if found.kind == "files":
        raise Conflict(
            f"{dataset} is a dataset of files: it has no rows",
            hint=f"`conveyor data add {dataset} PATH` adds files, `conveyor data checkout {dataset}` gets them back.",
        )
    return found


def declared(build: Build | None, project: str, dataset: str) -> DataConfig:
    """As `table_of`, of a dataset that takes rows. Raises InputRejected for one that Conveyor makes."""
    found = table_of(build, project, dataset)
    if families.model_of(dataset):
        raise InputRejected(f"{dataset} takes no rows: Conveyor itself makes it", hint="Send rows to another dataset.")
    return found


def configured(build: Build | None, project: str, dataset: str) -> DataConfig:
    """The dataset's section of the project's configuration. Raises NotFound with what there is."""
    if build is None:
        raise NotFound(
            f"project {project!r} has no build yet", hint="Push it first: its conveyor.toml names the datasets."
        )
    found = derived.find(build.config, dataset)
    if found is None:
        names = ", ".join(sorted(build.config.data)) or "none"
        raise NotFound(f"there is no dataset {dataset!r} in conveyor.toml", hint=f"Declared are: {names}.")
    return found
