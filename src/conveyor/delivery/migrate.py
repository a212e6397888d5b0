"""The recipe of migrations: rehearsed on a copy of the database, then, after a backup, run on the real one."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery.targets import database_path, service_environment
from conveyor.domain.project import ServiceConfig
from conveyor.domain.release import Build, Release
from conveyor.domain.run import Run, Step
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.stores.collections import BUILDS
from conveyor.stores.records import Transaction

KIND = "migrate"
_REHEARSE, _MIGRATE = "rehearse:", "migrate:"


def new_run(id_: str, release: Release, build: Build, now: datetime) -> Run | None:
    """None where no service of the release has migrations."""
    services = [service for service in build.config.services.values() if service.migrate]
    if not services:
        return None
    rehearsals = [Step(f"{_REHEARSE}{service.name}", timeout=timedelta(minutes=10)) for service in services]
    needs = tuple(step.name for step in rehearsals)
    real = [Step(f"{_MIGRATE}{service.name}", needs=needs, timeout=timedelta(minutes=10)) for service in services]
    params = {"build": build.id, "environment": release.environment, "release": release.number}
    reason = f"release {release.number}"
    return Run(id_, release.project, KIND, release.id, params, (*rehearsals, *real), now, reason=reason)


class MigrateRecipe:
    kind = KIND
    at_once = 1

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        settings = self._context.settings
        with self._context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
        kind, _, name = step.name.partition(":")
        service = build.config.services[name]
        environment = run.params["environment"]
        env = clean_environment(settings.envs / build.environment) | service_environment(settings, environment, service)
        line = service.migrate or ""
        if self._own_database(service):
            real = database_path(settings, environment, service.database or "")
            target = job / "rehearsal.db" if f"{kind}:" == _REHEARSE else self._backup(run, environment, real)
            line = f"{_copy(real, target)} && {line}"
            if f"{kind}:" == _REHEARSE:
                env[service.database or ""] = f"sqlite:///{target}"
        elif f"{kind}:" == _REHEARSE:
            line = f"echo 'no rehearsal: {service.database or 'the service'} is not a database that Conveyor made'"
        return Command(shell=line, cwd=settings.builds / build.tree, env=env)

    def complete(self, run: Run, tx: Transaction) -> Run:
        return run

    def failed(self, run: Run, tx: Transaction) -> None:
        """The rollout that waits for it says why it was aborted."""

    def _own_database(self, service: ServiceConfig) -> bool:
        return bool(service.database) and service.database not in service.env

    def _backup(self, run: Run, environment: str, real: Path) -> Path:
        return (
            self._context.settings.home
            / "backups"
            / environment
            / f"before-release-{run.params['release']}-{real.name}"
        )


def _copy(source: Path, target: Path) -> str:
    words = [sys.executable, "-m", "conveyor.effects.database", str(source), str(target)]
    return " ".join(shlex.quote(word) for word in words)
