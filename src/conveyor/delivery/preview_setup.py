"""What a preview needs before its first release: databases of its own, made by a run, once; and their end."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from conveyor.delivery.targets import database_path
from conveyor.domain.environment import database_url, main
from conveyor.domain.preview import own_url
from conveyor.domain.project import ServiceConfig, WorkerConfig
from conveyor.domain.release import Build, Environment
from conveyor.domain.run import Run, RunState, Step
from conveyor.effects.database import database
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import InputRejected
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, RUNS
from conveyor.stores.records import Transaction

KIND = "preview"
_MAKE, _DROP = "database:", "drop:"
Process = ServiceConfig | WorkerConfig


@dataclass(frozen=True, slots=True)
class Setup:
    """What a preview waits for before its first release; empty: nothing. `start`: its setup has to be started."""

    waiting: str = ""
    start: bool = False


def setup(tx: Transaction, environment: Environment, build: Build) -> Setup:
    run = tx.get(RUNS, environment.setup) if environment.setup else None
    if run is None:
        # A record that is named and gone is that of an old run: what it made is in use, and is not made again.
        start = not environment.setup and bool(_databases(build))
        return Setup("its databases are being made" if start else "", start)
    if run.state is RunState.SUCCEEDED:
        return Setup()
    if run.state is RunState.RUNNING:
        return Setup("its databases are being made")
    return Setup(f"its databases could not be made: {run.error}", start=run.params["build"] != build.id)


def start(context: Context, tx: Transaction, environment: Environment, build: Build) -> Environment:
    """Starts the run that makes a preview's databases; the record says which it is."""
    return _begin(context, tx, environment, build.id, [f"{_MAKE}{variable}" for variable in _databases(build)])


def leftovers(tx: Transaction, environment: Environment) -> tuple[str, list[str]]:
    """The build and the variables of databases on a server, which no folder's removal removes; empty once dropped."""
    run = tx.get(RUNS, environment.setup) if environment.setup else None
    build = tx.get(BUILDS, run.params["build"]) if run else None
    if run is None or build is None or any(step.name.startswith(_DROP) for step in run.steps):
        return "", []
    urls = {variable: database_url(build.config, process) for variable, process in _databases(build).items()}
    return build.id, [variable for variable, url in urls.items() if url and own_url(url, environment.name)]


def drop(context: Context, tx: Transaction, environment: Environment, build: str, variables: list[str]) -> None:
    _begin(context, tx, environment, build, [f"{_DROP}{variable}" for variable in variables])


def _begin(
    context: Context, tx: Transaction, environment: Environment, build: str, names: Iterable[str]
) -> Environment:
    steps = tuple(Step(name, timeout=timedelta(hours=1), retries=1) for name in names)
    params = {"environment": environment.name, "build": build}
    now = context.clock.now()
    run = Run(context.new_id(), environment.project, KIND, environment.id, params, steps, now, reason="a preview")
    tx.put(RUNS, run)
    tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))
    environment = replace(environment, setup=run.id)
    tx.put(ENVIRONMENTS, environment)
    return environment


class PreviewRecipe:
    """Makes a preview's databases: copies of production's, taken while that one is in use, or empty ones."""

    kind = KIND
    at_once = 2

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        with self._context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
        verb, _, variable = step.name.partition(":")
        process = _databases(build)[variable]
        place = self._context.settings.builds / build.part(process.name).tree
        name = run.params["environment"]
        url = database_url(build.config, process) or self._made(build.project, main(build.config).name, variable)
        own = own_url(url, name) or self._made(build.project, name, variable)
        self._check(process, variable, url, own, place)
        env = clean_environment() | {"CONVEYOR_TO": own}
        if f"{verb}:" == _DROP:
            env["CONVEYOR_DROP"] = "yes"
        elif build.config.preview.database == "copy" and self._exists(url):
            env["CONVEYOR_FROM"] = url
        return Command(argv=(sys.executable, "-m", "conveyor.effects.database_copy"), cwd=place, env=env)

    def _check(self, process: Process, variable: str, url: str, own: str, place: Path) -> None:
        """What cannot be copied is said before anything starts; the preview would not get production's either way."""
        hint = f"Give previews a database of their own: under [preview], env = {{ {variable} = ... }}."
        try:
            kinds = {database(url, place).kind, database(own, place).kind}
        except InputRejected as error:
            raise InputRejected(f"the database of {process.name}: {error.message}", hint=hint) from error
        if len(kinds) > 1:
            raise InputRejected(f"the URL of the database of {process.name} names no database on its server", hint=hint)

    def complete(self, run: Run, tx: Transaction) -> Run:
        return run

    def failed(self, run: Run, tx: Transaction) -> None:
        """The environment's own record says what it waits for."""

    def _made(self, project: str, environment: str, variable: str) -> str:
        return f"sqlite:///{database_path(self._context.settings, f'{project}/{environment}', variable)}"

    def _exists(self, url: str) -> bool:
        """A file that no release has made yet must not be made by looking at it."""
        return not url.startswith("sqlite:////") or Path(url.removeprefix("sqlite:///")).exists()


def _databases(build: Build) -> dict[str, Process]:
    """The variables of a build whose databases Conveyor makes for a preview, with one process that has it."""
    config = build.config
    processes: list[Process] = [*config.services.values(), *config.workers.values()]
    return {
        each.database: each
        for each in processes
        if each.database and each.database not in config.preview.env and each.database not in each.secrets
    }
