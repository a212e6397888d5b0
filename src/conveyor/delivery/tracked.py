"""The controller that shows Conveyor's trainings as tracked runs: what a training logs is told while it goes on.

The tracked run has the run's id; its experiment is `project/model`. All of it can be told again: points are kept once,
params keep their first value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from conveyor.delivery import train, trials
from conveyor.delivery.kept import keep_file
from conveyor.domain.model import ModelVersion
from conveyor.domain.run import Run, RunState, Step
from conveyor.domain.step import TRAIN
from conveyor.domain.tracked import ACTIVE, FAILED, FINISHED, KILLED, RUNNING, Pair, Point
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, job_dir
from conveyor.errors import NotFound
from conveyor.sdk.tracker import FILE, FOLDER
from conveyor.stores.collections import MODEL_VERSIONS, RUNS
from conveyor.stores.tracking import experiments, files, points, runs
from conveyor.stores.tracking.database import Session, TrackingDatabase

_OPEN, _IDLE = 0.5, 1.0  # seconds between looks
_KINDS = (train.KIND, trials.KIND)
_NEWEST = 100  # so many of each kind are looked at; older ones have long been told
_STATUS = {RunState.SUCCEEDED: FINISHED, RunState.FAILED: FAILED, RunState.CANCELLED: KILLED}


class TrackedTrainings:
    name = "tracked"

    def __init__(self, context: Context, database: TrackingDatabase) -> None:
        self._context = context
        self._database = database
        self._revision = -1
        self._told: set[str] = set()  # runs that have ended and are told whole
        self._read: dict[str, tuple[int, int]] = {}  # run -> attempt, and bytes of its file that were told

    def turn(self) -> float:
        revision = self._context.records.revision
        if revision == self._revision and not self._read:
            return _IDLE
        with self._context.records.read() as tx:
            newest = [run for kind in _KINDS for run in tx.find(RUNS, where={"kind": kind}, limit=_NEWEST)]
        for run in newest:
            if run.id not in self._told:
                self._tell(run)
        self._revision = revision
        return _OPEN if self._read else _IDLE

    def _tell(self, run: Run) -> None:
        if self._database.write(lambda session: _over(session, run.id)):
            self._read.pop(run.id, None)
            self._told.add(run.id)
            return
        self._database.write(lambda session: _begin(session, run))
        step = run.step(TRAIN)
        self._follow(run, step)
        if run.state is RunState.RUNNING:
            return
        self._whole(run, step)
        self._read.pop(run.id, None)
        self._told.add(run.id)

    def _follow(self, run: Run, step: Step) -> None:
        """The lines that came since the last look; a last one that is not whole waits."""
        path = job_dir(self._context.settings, run, step) / OUT / FILE
        attempt, known = self._read.get(run.id, (step.attempt, 0))
        known = known if attempt == step.attempt else 0
        raw = _after(path, known)
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole:
            self._database.write(_lines(run.id, whole))
        self._read[run.id] = (step.attempt, known + len(whole))

    def _whole(self, run: Run, step: Step) -> None:
        """All that the training left, from the store, and what became of it."""
        objects, outputs = self._context.objects, step.outputs
        if FILE in outputs and objects.has(outputs[FILE]):
            self._database.write(_lines(run.id, objects.get(outputs[FILE])))
        kept = {name: digest for name, digest in outputs.items() if name.startswith(f"{FOLDER}/")}
        sizes = {name: objects.path(digest).stat().st_size for name, digest in kept.items() if objects.has(digest)}
        for name in sizes:
            keep_file(self._context, kept[name])
        version = self._version(run)

        def work(session: Session) -> None:
            for name, size in sizes.items():
                files.put(session, run.id, name.removeprefix(f"{FOLDER}/"), kept[name], size)
            _end(session, run, version)

        self._database.write(work)

    def _version(self, run: Run) -> ModelVersion | None:
        number = run.result.get("version")
        with self._context.records.read() as tx:
            return tx.get(MODEL_VERSIONS, f"{run.subject}@{number}") if number else None


def _over(session: Session, uuid: str) -> bool:
    """Told whole, or deleted by a person."""
    try:
        info = runs.info(session, uuid)
    except NotFound:
        return False
    return info.status != RUNNING or info.lifecycle_stage != ACTIVE


def _begin(session: Session, run: Run) -> None:
    try:
        runs.info(session, run.id)
    except NotFound:
        started = int(run.created.timestamp() * 1000)
        experiment = experiments.ensure(session, run.subject, started)
        tags = [Pair(runs.NAME_TAG, run.id), Pair("conveyor.reason", run.reason)]
        tags += [Pair(f"conveyor.data.{name}", str(version)) for name, version in _data(run).items()]
        runs.create(session, run.id, experiment, run.id, "conveyor", started, tags)


def _end(session: Session, run: Run, version: ModelVersion | None) -> None:
    number = runs.number(session, run.id)
    ended = int(run.ended.timestamp() * 1000) if run.ended else int(run.created.timestamp() * 1000)
    _params(session, run.id, [Pair(name, str(value)) for name, value in run.params.get("given", {}).items()])
    if "sweep" in run.params:
        sweep = {"conveyor.sweep": run.params["sweep"], "conveyor.trial": run.params.get("trial", "")}
        runs.set_tags(session, number, [Pair(name, str(text)) for name, text in sweep.items()])
        if (value := run.result.get("value")) is not None:
            points.log(session, number, [Point("value", float(value), ended, 0)])
    if version is not None:
        there = [Pair(name, str(value)) for name, value in version.params.items()]
        _params(session, run.id, there)
        told = [Point(name, value, ended, 0) for name, value in version.metrics.items()]
        points.log(session, number, told)
        tags = {"conveyor.version": str(version.version), "conveyor.commit": version.commit}
        runs.set_tags(session, number, [Pair(name, text) for name, text in tags.items()])
    if run.error:
        runs.set_tags(session, number, [Pair("conveyor.error", run.error[:5000])])
    runs.change(session, run.id, _STATUS.get(run.state, FAILED), ended)


def _lines(uuid: str, raw: bytes) -> Callable[[Session], None]:
    def work(session: Session) -> None:
        number = runs.number(session, uuid)
        told: list[Point] = []
        params: list[Pair] = []
        for line in raw.splitlines():
            found = msgspec.json.decode(line)
            if "metric" in found:
                told.append(Point(found["metric"], found["value"], found["time"], found["step"]))
            else:
                params.append(Pair(found["param"], found["value"]))
        points.log(session, number, told)
        _params(session, uuid, params)

    return work


def _params(session: Session, uuid: str, given: list[Pair]) -> None:
    """Those that are not there yet."""
    number = runs.number(session, uuid)
    there = runs.params_of(session, number)
    new = {pair.key: pair for pair in reversed(given) if pair.key not in there}
    runs.log_params(session, number, list(new.values()), uuid)


def _data(run: Run) -> Mapping[str, Any]:
    found = run.params.get("data")
    return found if isinstance(found, Mapping) else {}


def _after(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""
