"""The desk: everything that a client may ask of the control plane. The API, pages and tests call nothing below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from conveyor import __version__
from conveyor.delivery import arrivals, collect, environment_desk, retrain, rollback, steering
from conveyor.delivery.alert_desk import AlertDesk
from conveyor.delivery.contract_desk import ContractDesk
from conveyor.delivery.dataset_desk import DatasetDesk
from conveyor.delivery.erase import EraseDesk
from conveyor.delivery.labels import Labels
from conveyor.delivery.lineage import LineageDesk
from conveyor.delivery.lookup import latest_build, latest_data, live_model
from conveyor.delivery.notify_desk import NotifyDesk
from conveyor.delivery.parity import ParityDesk
from conveyor.delivery.quarantine import QuarantineDesk
from conveyor.delivery.registry_desk import RegistryDesk
from conveyor.delivery.remote_desk import RemoteDesk
from conveyor.delivery.reports import Reports
from conveyor.delivery.rows import Rows
from conveyor.delivery.score_desk import ScoreDesk
from conveyor.delivery.secrets import Secrets
from conveyor.delivery.step_desk import Find, StepDesk, find_table
from conveyor.delivery.sweep_desk import SweepDesk
from conveyor.delivery.table_desk import TableDesk
from conveyor.delivery.tokens import Tokens
from conveyor.domain import requests
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.events import Event
from conveyor.domain.model import ModelVersion
from conveyor.domain.monitor import Quality, Window
from conveyor.domain.release import Release
from conveyor.domain.retention import Policy
from conveyor.domain.run import Run, RunState
from conveyor.domain.state import Arrival, Project, Quarantined
from conveyor.domain.views import (
    Accepted,
    Collected,
    DatasetView,
    LogChunk,
    Message,
    ModelView,
    ProcessView,
    StatusView,
)
from conveyor.effects.processes import ProcessInfo
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.stores.collections import (
    ALIASES,
    ARRIVALS,
    DATASET_VERSIONS,
    ENVIRONMENTS,
    GOVERNORS,
    MODEL_VERSIONS,
    PROJECTS,
    QUALITY,
    QUARANTINE,
    RELEASES,
    RUNS,
    STALE,
    WINDOWS,
)
from conveyor.stores.records import Collection, Transaction

T = TypeVar("T")
_CHUNK = 256 * 1024


class Desk:
    """Reads views, takes requests. `poke` wakes the reconciler; `processes` lists what supervisord runs;
    `find` looks up the version of a dataset that an input names."""

    def __init__(
        self,
        context: Context,
        poke: Callable[[], None],
        alive: Callable[[], bool],
        processes: Callable[[], dict[str, ProcessInfo]],
        rows: Rows,
        find: Find = find_table,
    ) -> None:
        self._context = context
        self._poke = poke
        self._alive = alive
        self._processes = processes
        self.rows = rows
        self.labels = Labels(context, rows)
        self._started = context.clock.now()
        self.alerts = AlertDesk(context)
        self.notify = NotifyDesk(context)
        self.registry = RegistryDesk(context, poke)
        self.reports = Reports(context)
        self.lineage = LineageDesk(context)
        self.datasets = DatasetDesk(context, self.lineage)
        self.contracts = ContractDesk(context)
        self.erasures = EraseDesk(context)
        self.quarantines = QuarantineDesk(context, poke)
        self.secrets = Secrets(context, poke)
        self.scores = ScoreDesk(context, poke, self.registry)
        self.parity = ParityDesk(context, poke, find)
        self.steps = StepDesk(context, poke, find)
        self.sweeps = SweepDesk(context, poke)
        self.tables = TableDesk(context)
        self.tokens = Tokens(context)
        self.remotes = RemoteDesk(context, poke)
        self.environments = environment_desk.EnvironmentDesk(context, poke)

    # --- views

    def status(self) -> StatusView:
        settings = self._context.settings
        with self._context.records.read() as tx:
            projects = tx.find(PROJECTS, limit=1000, newest=False)
            return StatusView(
                version=__version__,
                api_url=settings.api_url,
                public_url=settings.public_url,
                started=self._started,
                reconciling=self._alive(),
                environments=tuple(
                    view
                    for place, project in enumerate(projects)
                    for view in environment_desk.views(settings, tx, project, first=place == 0)
                ),
                datasets=tuple(view for p in projects for view in self._datasets(tx, p)),
                models=tuple(view for p in projects for view in self._models(tx, p)),
                runs=tuple(tx.find(RUNS, where={"state": RunState.RUNNING}, limit=100)),
                processes=tuple(
                    ProcessView(name, info.state, info.pid, info.started_at)
                    for name, info in sorted(self._processes().items())
                ),
            )

    def reconciling(self) -> bool:
        return self._alive()

    def projects(self) -> list[Project]:
        with self._context.records.read() as tx:
            return tx.find(PROJECTS, limit=1000, newest=False)

    def events(
        self,
        *,
        after: int = 0,
        subject: str | None = None,
        types: tuple[str, ...] = (),
        limit: int = 100,
        newest: bool = False,
    ) -> list[Event]:
        with self._context.records.read() as tx:
            return tx.events(after=after, subject=subject, types=types, limit=min(limit, 1000), newest=newest)

    def runs(self, *, project: str | None = None, kind: str | None = None, limit: int = 50) -> list[Run]:
        where = {name: value for name, value in (("project", project), ("kind", kind)) if value}
        with self._context.records.read() as tx:
            return tx.find(RUNS, where=where, limit=min(limit, 1000))

    def run(self, id_: str) -> Run:
        with self._context.records.read() as tx:
            return tx.need(RUNS, id_)

    def run_of_commit(self, project: str, commit: str) -> Run:
        """The newest build run of a commit; the full hash, as git prints it."""
        with self._context.records.read() as tx:
            found = tx.find(RUNS, where={"project": project, "kind": "build", "subject": commit}, limit=1)
        if not found:
            raise NotFound(
                f"no run of commit {commit[:12]} in project {project!r}",
                hint="Commits are built when a branch that an environment follows moves to them.",
            )
        return found[0]

    def log(self, id_: str, step: str, offset: int) -> LogChunk:
        """A piece of a step's log; an empty `step` means the first one."""
        run = self.run(id_)
        names = [each.name for each in run.steps]
        if not names:
            return LogChunk(
                "", run.error + "\n" if offset == 0 and run.error else "", offset + 1, run.state is not RunState.RUNNING
            )
        if step and step not in names:
            raise NotFound(f"run {id_} has no step {step!r}", hint=f"Its steps are: {', '.join(names)}.")
        step = step or names[0]
        path = self._context.settings.logs / "runs" / run.id / f"{step}.log"
        if not path.is_file():
            return LogChunk(step, "", offset, run.state is not RunState.RUNNING)
        return _chunk(path, step, offset, ended=run.state is not RunState.RUNNING)

    def process_log(self, name: str, offset: int) -> LogChunk:
        """A piece of a process's log: `control`, `envoy`, or an instance as `conveyor status` names it."""
        known = self._processes()
        if name not in known:
            raise NotFound(f"there is no process {name!r}", hint=f"Running are: {', '.join(sorted(known))}.")
        path = self._context.settings.logs / "processes" / f"{name}.log"
        return _chunk(path, name, offset, ended=False) if path.is_file() else LogChunk(name, "", offset, False)

    def dataset_versions(self, project: str, dataset: str, limit: int = 50) -> list[DatasetVersion]:
        return self._of_dataset(DATASET_VERSIONS, project, dataset, limit)

    def arrivals(self, project: str, dataset: str, limit: int = 50) -> list[Arrival]:
        return self._of_dataset(ARRIVALS, project, dataset, limit)

    def quarantine(self, project: str, dataset: str, limit: int = 50) -> list[Quarantined]:
        return self._of_dataset(QUARANTINE, project, dataset, limit)

    def model_versions(self, project: str, model: str, limit: int = 50) -> list[ModelVersion]:
        with self._context.records.read() as tx:
            self._model(tx, project, model)
            return tx.find(MODEL_VERSIONS, where={"model": f"{project}/{model}"}, limit=limit)

    def quality(self, project: str, model: str, limit: int = 200) -> list[Quality]:
        with self._context.records.read() as tx:
            self._model(tx, project, model)
            return tx.find(QUALITY, where={"model": f"{project}/{model}"}, limit=limit)

    def windows(self, project: str, model: str, limit: int = 200) -> list[Window]:
        with self._context.records.read() as tx:
            self._model(tx, project, model)
            return tx.find(WINDOWS, where={"model": f"{project}/{model}"}, limit=limit)

    def releases(self, project: str, environment: str, limit: int = 50) -> list[Release]:
        with self._context.records.read() as tx:
            record = tx.need(ENVIRONMENTS, f"{project}/{environment}")
            numbers = range(record.releases, max(0, record.releases - limit), -1)
            found = [tx.get(RELEASES, f"{record.id}/{number}") for number in numbers]
        return [release for release in found if release is not None]

    # --- requests

    def upload(self, project: str, dataset: str, file: str, path: Path) -> Accepted:
        """Takes a file over for a dataset. Once this returns, its bytes and the note of its arrival are durable."""
        plain = file == Path(file).name and file != ".." and file.isprintable() and "\ufffd" not in file
        if not plain or len(file.encode()) > 255:
            raise InputRejected(
                f"{file[:80]!r} cannot be a file's name", hint="Give a plain name such as 2018-04-01.parquet."
            )
        context = self._context
        with context.records.read() as tx:
            arrivals.declared(latest_build(tx, project), project, dataset)
        digest = context.objects.put_file(path)
        with context.records.transaction() as tx:
            taken = arrivals.accept(context, tx, project, dataset, file, digest, again=True)
            earlier = tx.get(ARRIVALS, f"{project}/{dataset}/{digest}") if taken is None else None
        self._poke()
        return Accepted(file, digest, earlier.file if earlier else "")

    def cancel(self, id_: str, request: requests.Cancel) -> Message:
        with self._context.records.transaction() as tx:
            run = tx.need(RUNS, id_)
            if run.state is not RunState.RUNNING:
                raise Conflict(f"run {id_} has {run.state} already", hint="There is nothing to cancel.")
            tx.put(RUNS, replace(run, cancel=request.reason))
        self._poke()
        return Message(f"run {id_} is being cancelled")

    def retrain(self, project: str, model: str, request: requests.Retrain) -> Message:
        with self._context.records.transaction() as tx:
            retrain.ask(self._context, tx, project, model, request.reason)
        self._poke()
        return Message(f"a training of {model} was asked for; `conveyor why retrain {model}` tells what came of it")

    def rollback(self, project: str, environment: str, request: requests.Rollback) -> Message:
        with self._context.records.transaction() as tx:
            said = rollback.roll_back(self._context, tx, f"{project}/{environment}", request)
        self._poke()
        return said

    def pause(self, project: str, environment: str, request: requests.Pause) -> Message:
        with self._context.records.transaction() as tx:
            said = steering.pause(self._context, tx, f"{project}/{environment}", request)
        return self._told(said)

    def resume(self, project: str, environment: str, request: requests.Resume) -> Message:
        with self._context.records.transaction() as tx:
            said = steering.resume(self._context, tx, f"{project}/{environment}", request)
        return self._told(said)

    def abort(self, project: str, environment: str, request: requests.Abort) -> Message:
        with self._context.records.transaction() as tx:
            said = steering.abort(self._context, tx, f"{project}/{environment}", request)
        return self._told(said)

    def collect(self, request: requests.Collect) -> Collected:
        policy = replace(Policy(), models=max(0, request.models))
        policy = policy if request.grace is None else replace(policy, grace=request.grace)
        return collect.collect(self._context, policy, dry_run=request.dry_run)

    def _told(self, said: str) -> Message:
        self._poke()
        return Message(said)

    # --- joining

    def _datasets(self, tx: Transaction, project: Project) -> Iterable[DatasetView]:
        build = latest_build(tx, project.name)
        for name in build.config.data if build else ():
            dataset = f"{project.name}/{name}"
            yield DatasetView(
                project.name,
                name,
                latest_data(tx, project.name, name),
                tx.count(ARRIVALS, where={"dataset": dataset, "state": "waiting"}),
                tx.count(ARRIVALS, where={"dataset": dataset, "state": "refused"}),
                tx.count(QUARANTINE, where={"dataset": dataset}),
                tx.get(STALE, dataset),
            )

    def _models(self, tx: Transaction, project: Project) -> Iterable[ModelView]:
        build = latest_build(tx, project.name)
        for name in build.config.models if build else ():
            subject = f"{project.name}/{name}"
            newest = tx.find(MODEL_VERSIONS, where={"model": subject}, limit=1)
            record = tx.get(GOVERNORS, subject)
            yield ModelView(
                project.name,
                name,
                newest[0] if newest else None,
                live_model(tx, project.name, name),
                record.last.reason if record and record.last else "",
                tuple(tx.find(ALIASES, where={"model": subject})),
            )

    def _model(self, tx: Transaction, project: str, model: str) -> None:
        build = latest_build(tx, project)
        if build is None or model not in build.config.models:
            names = ", ".join(sorted(build.config.models)) if build else "none: nothing was pushed yet"
            raise NotFound(f"there is no model {model!r} in project {project!r}", hint=f"Declared are: {names}.")

    def _of_dataset(self, collection: Collection[T], project: str, dataset: str, limit: int) -> list[T]:
        with self._context.records.read() as tx:
            arrivals.configured(latest_build(tx, project), project, dataset)
            return tx.find(collection, where={"dataset": f"{project}/{dataset}"}, limit=limit)


def _chunk(path: Path, name: str, offset: int, *, ended: bool) -> LogChunk:
    with path.open("rb") as file:
        file.seek(offset)
        raw = file.read(_CHUNK)
    return LogChunk(name, raw.decode(errors="replace"), offset + len(raw), ended and len(raw) < _CHUNK)
