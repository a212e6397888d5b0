"""The recipe of a build: a commit becomes a source tree and an environment, both content-addressed; tests pass."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from conveyor.domain import wire
from conveyor.domain.project import ProjectConfig, ServiceConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, Step
from conveyor.effects import envs, git
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import NotFound
from conveyor.stores.collections import BUILDS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

KIND = "build"
_TEST = "test:"


@dataclass(frozen=True, slots=True)
class Params:
    project: str
    branch: str
    commit: str
    tree: str
    author: str
    message: str
    config: ProjectConfig


def plan(repo: Path, project: str, branch: str, commit: str, info: git.CommitInfo, config: ProjectConfig) -> Params:
    return Params(project, branch, commit, git.tree_id(repo, commit), info.author, info.subject, config)


def new_run(id_: str, params: Params, config: ProjectConfig, now: datetime) -> Run:
    steps = [
        Step("checkout", timeout=timedelta(minutes=5), retries=1),
        Step("environment", needs=("checkout",), timeout=timedelta(minutes=30), retries=1),
    ]
    for service in config.services.values():
        for place in range(len(service.test)):
            steps.append(Step(_test_name(service, place), needs=("environment",), timeout=service.timeout))
    body: dict[str, Any] = wire.to_builtins(params)
    return Run(id_, params.project, KIND, params.commit, body, tuple(steps), now, reason=f"push to {params.branch}")


class BuildRecipe:
    kind = KIND
    at_once = 2

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        params = wire.from_builtins(run.params, Params)
        if step.name == "checkout":
            return self._checkout(params)
        tree = self._context.settings.builds / params.tree
        if step.name == "environment":
            key = envs.key(tree)
            return Command(argv=envs.command(self._context.settings.envs / key, tree), env=clean_environment())
        for service in params.config.services.values():
            for place, line in enumerate(service.test):
                if step.name == _test_name(service, place):
                    return self._test(service, line, params, tree, job)
        raise NotFound(f"the project has no test {step.name}", hint="This is a bug; report it.")

    def complete(self, run: Run, tx: Transaction) -> Run:
        context = self._context
        params = wire.from_builtins(run.params, Params)
        environment = envs.key(context.settings.builds / params.tree)
        digest = digest_bytes(f"{params.tree}\0{environment}".encode())
        build = Build(
            params.project,
            digest,
            params.commit,
            params.tree,
            environment,
            params.config,
            context.clock.now(),
            params.author,
            params.message,
        )
        # A commit whose content was built before is the newest build again: its place in the order must be the last.
        tx.delete(BUILDS, build.id)
        tx.put(BUILDS, build)
        tx.append(
            context.event(
                "build.ready", f"project/{run.project}", run.project, commit=params.commit, build=digest, run=run.id
            )
        )
        return run

    def failed(self, run: Run, tx: Transaction) -> None:
        """The run's own event says it all."""

    def _checkout(self, params: Params) -> Command:
        settings = self._context.settings
        repo = shlex.quote(str(settings.repos / f"{params.project}.git"))
        target = settings.builds / params.tree
        quoted, temporary = shlex.quote(str(target)), shlex.quote(f"{target}.new")
        return Command(
            shell=(
                f"test -d {quoted} || {{ rm -rf {temporary} && mkdir -p {temporary} && "
                f"git --git-dir={repo} archive --format=tar -o {temporary}.tar {params.commit} && "
                f"tar -xf {temporary}.tar -C {temporary} && rm {temporary}.tar && mv {temporary} {quoted}; }}"
            ),
            env=clean_environment(),
        )

    def _test(self, service: ServiceConfig, line: str, params: Params, tree: Path, job: Path) -> Command:
        """Tests run in a copy, so that what they write does not become part of the build."""
        environment = envs.key(tree)
        to = shlex.quote(str(job / "src"))
        return Command(
            shell=f"mkdir -p {to} && cp -R {shlex.quote(str(tree))}/. {to} && cd {to} && {line}",
            env=clean_environment(self._context.settings.envs / environment) | service.env,
            key=digest_bytes(f"test\0{params.tree}\0{environment}\0{line}".encode()),
        )


def _test_name(service: ServiceConfig, place: int) -> str:
    return f"{_TEST}{service.name}" if place == 0 else f"{_TEST}{service.name}:{place + 1}"
