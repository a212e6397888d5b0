"""Fetches: started when they are due, run as any step; what was read and the cursor behind it are kept as one."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from cronsim import CronSim

from conveyor.delivery import secrets
from conveyor.delivery.lookup import Builds, open_runs
from conveyor.domain import fetch, wire
from conveyor.domain.fetch import FetchReport, FetchSpec, FetchState
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, RunState, Step
from conveyor.domain.state import Arrival
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.errors import InputRejected
from conveyor.stores.collections import ARRIVALS, BUILDS, FETCHES, RUNS
from conveyor.stores.records import Transaction

KIND = "fetch"
_EVERY = 0.5
_SECRETS = "production"  # the environment whose secrets a source is given


class Fetches:
    """The controller of sources: never two fetches of a dataset at once, and none while earlier ones wait."""

    name = "fetches"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._builds = Builds(context)

    def turn(self) -> float:
        for build in self._builds():
            for data in build.config.data.values():
                if data.source or data.query:
                    self._consider(build, data)
        return _EVERY

    def _consider(self, build: Build, data: DataConfig) -> None:
        context, now = self._context, self._context.clock.now()
        dataset = f"{build.project}/{data.name}"
        with context.records.read() as tx:
            found = tx.get(FETCHES, dataset)
            state = found or FetchState(dataset)
            tick = partial(_tick, data.schedule) if data.schedule else None
            if found is not None and not fetch.due(state, data.every, tick, now):
                return
            if open_runs(tx, KIND, dataset):
                return
            if tx.find(ARRIVALS, where={"dataset": dataset, "state": "waiting"}, limit=1):
                return
        if found is None:
            with context.transaction() as tx:
                tx.put(FETCHES, replace(state, cursor=data.start, started=now))
            return
        run = new_run(context.new_id(), build, data, state, now)
        with context.transaction() as tx:
            tx.put(FETCHES, fetch.started(state, now))
            tx.put(RUNS, run)
            tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))


def new_run(id_: str, build: Build, data: DataConfig, state: FetchState, now: datetime) -> Run:
    params = {"dataset": data.name, "build": build.id, "cursor": state.cursor}
    step = Step("fetch", timeout=timedelta(hours=1))
    reason = "the first fetch" if state.cursor is None else f"from cursor {str(state.cursor)[:60]} on"
    return Run(id_, build.project, KIND, f"{build.project}/{data.name}", params, (step,), now, reason=reason)


class FetchRecipe:
    kind = KIND
    at_once = 2

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        context = self._context
        with context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
            data = build.config.data[run.params["dataset"]]
            names = {*data.secrets, *((data.url,) if data.url else ())}
            chosen = {n: v[0] for n, v in secrets.choices(tx, run.project, _SECRETS, sorted(names)).items()}
            sealed = secrets.sealed_file(context, tx, run.project, _SECRETS, chosen)
        if missing := sorted(names - set(chosen)):
            raise InputRejected(
                f"secret {missing[0]} has no value", hint=f"Set it: conveyor secret set {missing[0]} --env {_SECRETS}"
            )
        environment = context.settings.envs / build.environment
        spec = FetchSpec(run.params["cursor"], data.source or "", data.query or "", data.url or "", data.cursor or "")
        own = data.query is not None
        python = sys.executable if own else str(environment / "bin" / "python")
        module = "conveyor.effects.query" if own else "conveyor.sdk.fetch"
        return Command(
            argv=(python, "-m", module, str(job / SPEC), str(job / OUT)),
            cwd=context.settings.builds / build.tree,
            env=clean_environment(None if own else environment),
            spec=wire.to_json(spec),
            sealed=sealed,
        )

    def complete(self, run: Run, tx: Transaction) -> Run:
        """The rows have arrived and the cursor has moved, or neither: each row comes once."""
        context = self._context
        outputs = run.step("fetch").outputs
        report = wire.from_json(context.objects.get(outputs["fetch.json"]), FetchReport)
        state = tx.need(FETCHES, run.subject)
        if state.cursor != run.params["cursor"]:
            return replace(run, result={"rows": 0, "discarded": "the cursor was moved meanwhile"})
        tx.put(FETCHES, fetch.ended(state, report))
        now, dataset = context.clock.now(), run.params["dataset"]
        for number, name in enumerate(report.files):
            file = f"fetch-{now:%Y%m%dT%H%M%S}-{number}.parquet"
            arrival = Arrival(f"{run.subject}/fetch/{run.id}/{number}", run.project, dataset, file, outputs[name], now)
            tx.put(ARRIVALS, arrival)
            event = context.event(
                "data.arrived",
                f"data/{run.subject}",
                run.project,
                file=file,
                digest=arrival.digest,
                arrival=arrival.id,
                run=run.id,
            )
            tx.append(event)
        return replace(run, result={"rows": report.rows, "cursor": report.cursor, "more": report.more})

    def failed(self, run: Run, tx: Transaction) -> None:
        """Asked again later, from the same cursor; the run's own event says what was wrong."""
        state = tx.need(FETCHES, run.subject)
        tx.put(FETCHES, state if run.state is RunState.CANCELLED else fetch.failed(state))


def _tick(schedule: str, after: datetime) -> datetime:
    return next(CronSim(schedule, after))
