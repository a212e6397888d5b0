"""The controller of retraining: turns events into triggers, asks the governor, starts what it decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cronsim import CronSim

from conveyor.delivery import train
from conveyor.delivery.files import Files
from conveyor.delivery.inputs import labelled_rows, labels_known_until, sources_of
from conveyor.delivery.lookup import Builds, latest_build, live_model, manifest_of, open_runs
from conveyor.domain import governor
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.events import Event
from conveyor.domain.governor_state import (
    Decision,
    Ending,
    Facts,
    GovernorRecord,
    GovernorState,
    Trigger,
    TriggerKind,
    ended,
    faulted,
    lifted,
    noticed,
    sound,
    started,
)
from conveyor.domain.model import ModelVersion
from conveyor.domain.project import ModelConfig, ProjectConfig
from conveyor.domain.release import Build
from conveyor.domain.source import Source
from conveyor.domain.state import Cursor
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import CURSORS, DATASET_VERSIONS, GOVERNORS, MODEL_VERSIONS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 0.5
_CURSOR = "governor"
_TYPES = (
    "data.version_created",
    "build.ready",
    "signal.drift",
    "signal.decay",
    "signal.estimated_decay",
    "signal.data_fault",
    "monitor.window_closed",
    "run.succeeded",
    "run.failed",
    "run.cancelled",
)


class Retrain:
    name = "governor"

    def __init__(self, context: Context, recipe: train.TrainRecipe, files: Files) -> None:
        self._context = context
        self._files = files
        self._recipe = recipe
        self._builds = Builds(context)
        self._seen = -1  # the records' revision at the last look
        self._until: datetime | None = None  # when a decision is due again though nothing was written

    def turn(self) -> float:
        context = self._context
        revision, now = context.records.revision, context.clock.now()
        if revision == self._seen and (self._until is None or now < self._until):
            return _EVERY
        self._seen, self._until = revision, None
        builds = self._builds()
        with context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR) or Cursor(_CURSOR)
            events = tx.events(after=cursor.seq, types=_TYPES, limit=500)
        if events:
            with context.transaction() as tx:
                for event in events:
                    self._read(tx, event, builds)
                tx.put(CURSORS, replace(cursor, seq=events[-1].seq))
        touched = {event.project for event in events}
        for build in builds:
            for model in build.config.models.values():
                self._consider(build, model, news=build.project in touched)
        return _EVERY

    def _read(self, tx: Transaction, event: Event, builds: list[Build]) -> None:
        """Every governor that an event concerns takes notice of it."""
        for build in builds:
            if build.project != event.project:
                continue
            for model in build.config.models.values():
                record = self._record(tx, build, model)
                state = self._noticed(tx, record.state, event, build, model)
                if state != record.state:
                    tx.put(GOVERNORS, replace(record, state=state))

    def _noticed(
        self, tx: Transaction, state: GovernorState, event: Event, build: Build, model: ModelConfig
    ) -> GovernorState:
        subject = f"{build.project}/{model.name}"
        if event.type == "data.version_created":
            sources = sources_of(build.config, model.inputs)
            if event.subject not in {f"data/{build.project}/{one.name}" for one in sources if not one.which}:
                return state
            things = "files were added, changed or deleted" if event.data.get("kind") == "files" else "rows arrived"
            detail = f"{event.data['new_rows']:,} {things} as version {event.data['version']}"
            state = lifted(state) if state.vain and self._other_kind(tx, state, event) else state
            return noticed(state, Trigger(TriggerKind.DATA, event.time, detail))
        if event.type == "build.ready":
            return self._code(tx, state, event, build, model)
        if event.type.startswith("run."):
            ours = event.data.get("kind") == train.KIND and event.subject == f"run/{state.running}"
            return ended(state, _ending(event), _version(event)) if ours else state
        if event.subject != f"model/{subject}":
            return state
        if event.type == "signal.data_fault":
            return faulted(state, event.data["message"], event.time)
        if event.type == "monitor.window_closed":
            # What an old version or a shadow is sent says nothing of the data that the live version sees.
            live = live_model(tx, build.project, model.name)
            ours = live is not None and live.version == event.data["version"]
            return sound(state) if ours and not event.data["faulty"] else state
        kind = TriggerKind(event.type.removeprefix("signal."))
        return noticed(state, Trigger(kind, event.time, event.data["message"], version=event.data.get("version")))

    def _other_kind(self, tx: Transaction, state: GovernorState, event: Event) -> bool:
        """Whether the new version has other columns than the one that the newest model was trained on."""
        dataset = event.subject.removeprefix("data/")
        newest = tx.find(MODEL_VERSIONS, where={"model": state.id}, limit=1)
        before = newest[0].data.get(dataset.partition("/")[2]) if newest else None
        then = tx.get(DATASET_VERSIONS, f"{dataset}@{before}") if before else None
        now = tx.get(DATASET_VERSIONS, f"{dataset}@{event.data['version']}")
        return then is not None and now is not None and then.schema != now.schema

    def _code(
        self, tx: Transaction, state: GovernorState, event: Event, build: Build, model: ModelConfig
    ) -> GovernorState:
        newest = tx.find(MODEL_VERSIONS, where={"model": state.id}, limit=1)
        if newest and newest[0].code == self._recipe.code(build, model):
            return state
        detail = f"its code changed in push {build.commit[:8]}" if newest else "it has no version yet"
        return noticed(state, Trigger(TriggerKind.CODE, event.time, detail))

    def _consider(self, build: Build, model: ModelConfig, *, news: bool) -> None:
        context = self._context
        now = context.clock.now()
        with context.records.read() as tx:
            record = self._record(tx, build, model)
            facts, versions = self._facts(tx, record, build, model, now)
        decision = governor.decide(model.retrain, record.state, facts, now)
        if decision.wait_until is not None:
            self._until = min(self._until or decision.wait_until, decision.wait_until)
        if not decision.train and decision.rule == "pending":
            return
        if decision.same(record.last) and not news and not decision.train:
            return
        subject = f"{build.project}/{model.name}"
        with context.transaction() as tx:
            fresh = self._record(tx, build, model)
            if fresh.state != record.state:
                return  # somebody asked meanwhile; the next turn decides on that
            run_id = ""
            if decision.train:
                data = {name: version.version for name, version in versions.items()}
                run = train.new_run(
                    context.new_id(), build, model, data, decision.trigger or "manual", decision.reason, now
                )
                run_id = run.id
                tx.put(RUNS, run)
                tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))
                fresh = replace(fresh, state=started(fresh.state, run.id, now), ticked=now)
            if decision.rule == "loop guard" and not fresh.state.gave_up:
                fresh = replace(fresh, state=replace(fresh.state, gave_up=True))
                tx.append(self._gave_up(build, subject, fresh.state, decision))
            tx.put(GOVERNORS, replace(fresh, last=decision))
            tx.append(
                context.event(
                    "governor.decided",
                    f"model/{subject}",
                    build.project,
                    train=decision.train,
                    rule=decision.rule,
                    trigger=decision.trigger,
                    reason=decision.reason,
                    wait_until=decision.wait_until.isoformat() if decision.wait_until else None,
                    figures=decision.figures,
                    run=run_id,
                )
            )

    def _gave_up(self, build: Build, subject: str, state: GovernorState, decision: Decision) -> Event:
        """Once: the guard stays closed over later decisions, until something new lifts it."""
        message = decision.reason.removeprefix("did not retrain because ")
        return self._context.event(
            "governor.gave_up",
            f"model/{subject}",
            build.project,
            message=message[:1].upper() + message[1:] + ".",
            trigger=decision.trigger,
            trainings=state.vain,
        )

    def _facts(
        self, tx: Transaction, record: GovernorRecord, build: Build, model: ModelConfig, now: datetime
    ) -> tuple[Facts, dict[str, DatasetVersion]]:
        needed = sources_of(build.config, model.inputs)
        found = {one.key: self._files.find(tx, build, one) for one in needed}
        versions = {key: version for key, version in found.items() if version is not None}
        newest = tx.find(MODEL_VERSIONS, where={"model": record.id}, limit=1)
        running = open_runs(tx, train.KIND, record.id)
        lacking = [one for one in needed if one.key not in versions]
        short = _lacking(build.config, lacking[0]) if lacking else ""
        rows = 0
        if needed and needed[0].key in versions:
            version = versions[needed[0].key]
            until = labels_known_until(build.config.data[needed[0].name], version)
            if not version.root:
                rows = labelled_rows(manifest_of(self._context.objects, version), until)
                rows -= newest[0].rows if newest else 0
            short = short or governor.short_of(model, version.first, until)
        facts = Facts(
            new_rows=rows + _touched(tx, versions, newest[0] if newest else None),
            since_version=newest[0].version if newest else None,
            in_flight=running[0].id if running else "",
            due=_due(model.retrain.schedule, record.ticked, now),
            short=short,
        )
        return facts, versions

    def _record(self, tx: Transaction, build: Build, model: ModelConfig) -> GovernorRecord:
        id_ = f"{build.project}/{model.name}"
        fresh = GovernorRecord(GovernorState(id_, build.project), ticked=self._context.clock.now())
        return tx.get(GOVERNORS, id_) or fresh


def ask(context: Context, tx: Transaction, project: str, model: str, detail: str) -> None:
    """A person asks for a training; the governor starts it as soon as none is in flight."""
    build = latest_build(tx, project)
    if build is None or model not in build.config.models:
        names = ", ".join(sorted(build.config.models)) if build else "none: nothing was pushed yet"
        raise NotFound(f"there is no model {model!r}", hint=f"Declared are: {names}.")
    id_ = f"{project}/{model}"
    now = context.clock.now()
    record = tx.get(GOVERNORS, id_) or GovernorRecord(GovernorState(id_, project), ticked=now)
    trigger = Trigger(TriggerKind.MANUAL, now, detail)
    tx.put(GOVERNORS, replace(record, state=noticed(record.state, trigger)))


def _ending(event: Event) -> Ending:
    if event.type == "run.cancelled":
        return Ending.CANCELLED
    if event.type == "run.failed":
        return Ending.FAILED
    return Ending.READY if event.data["result"].get("status") == "ready" else Ending.REFUSED


def _version(event: Event) -> int:
    return int(event.data.get("result", {}).get("version", 0))


def _lacking(config: ProjectConfig, one: Source) -> str:
    if one.which:
        return f"dataset {one.name} has no version {one.which}"
    return f"dataset {one.name} has no {'files' if config.data[one.name].kind == 'files' else 'rows'} yet"


def _touched(tx: Transaction, versions: dict[str, DatasetVersion], newest: ModelVersion | None) -> int:
    """Files added, changed or deleted since the newest version of the model was trained."""
    count = 0
    for key, version in versions.items():
        if version.root and "@" not in key:  # what is pinned brings nothing new
            before = newest.data.get(key) if newest else None
            known = tx.get(DATASET_VERSIONS, f"{version.dataset}@{before}") if before else None
            count += abs(version.touched - (known.touched if known else 0))
    return count


def _due(schedule: str | None, ticked: datetime | None, now: datetime) -> bool:
    return schedule is not None and ticked is not None and next(CronSim(schedule, ticked)) <= now
