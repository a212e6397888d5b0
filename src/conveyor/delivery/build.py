"""The recipe of a build: a commit becomes source trees and environments, all content-addressed; its tests pass."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from conveyor.delivery import environments, secrets
from conveyor.delivery.parts import Layout, digest, source_of
from conveyor.domain import wire
from conveyor.domain.junit import Report, total
from conveyor.domain.project import ProjectConfig, ServiceConfig
from conveyor.domain.release import Build
from conveyor.domain.run import DONE, Run, RunState, Step, StepState
from conveyor.domain.secret import TEST
from conveyor.effects import envs, git, junit
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, Command, job_dir
from conveyor.errors import NotFound
from conveyor.stores.collections import BUILDS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

KIND = "build"
_CHECKOUT, _ENVIRONMENT = "checkout", "environment"
_BUILD, _TEST = "build:", "test:"
_LEAST = 4  # steps at once, so that one that hangs does not hold up all others


@dataclass(frozen=True, slots=True)
class Params:
    project: str
    branch: str
    commit: str
    author: str
    message: str
    config: ProjectConfig
    layout: Layout


def new_run(id_: str, params: Params, now: datetime) -> Run:
    """Everything that can go on at the same time does: a step waits only for what it reads."""
    made, config = params.layout, params.config
    steps = [Step(_CHECKOUT, timeout=timedelta(minutes=10), retries=1)]
    for key in made.environments:
        name = _environment_step(made, key)
        steps.append(Step(name, needs=(_CHECKOUT,), timeout=timedelta(minutes=30), retries=1))
    for service in config.services.values():
        needs: tuple[str, ...] = (_environment_step(made, made.parts[service.name].environment),)
        if service.build:
            steps.append(Step(f"{_BUILD}{service.name}", needs=needs, timeout=service.timeout))
            needs = (*needs, f"{_BUILD}{service.name}")
        for place in range(len(service.test)):
            steps.append(Step(_test_step(service, place), needs=needs, timeout=service.timeout))
    body: dict[str, Any] = wire.to_builtins(params)
    return Run(id_, params.project, KIND, params.commit, body, tuple(steps), now, reason=f"push to {params.branch}")


class BuildRecipe:
    kind = KIND

    def __init__(self, context: Context) -> None:
        self._context = context
        self.at_once = max(_LEAST, os.cpu_count() or 1)

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        params = wire.from_builtins(run.params, Params)
        if step.name == _CHECKOUT:
            return self._checkout(params, job)
        for key, folder in params.layout.environments.items():
            if step.name == _environment_step(params.layout, key):
                return self._environment(params, key, folder, job)
        for service in params.config.services.values():
            if step.name == f"{_BUILD}{service.name}":
                return self._build(params, service, job)
            for place, line in enumerate(service.test):
                if step.name == _test_step(service, place):
                    return self._test(params, service, line, job)
        raise NotFound(f"the project has no step {step.name}", hint="This is a bug; report it.")

    def complete(self, run: Run, tx: Transaction) -> Run:
        if run.cancel:
            # Its last step ended before it was asked to stop; what gave way to something else is not released.
            return self._reported(replace(run, state=RunState.CANCELLED, error=run.cancel))
        context = self._context
        params = wire.from_builtins(run.params, Params)
        made = params.layout
        build = Build(
            params.project,
            digest(made),
            params.commit,
            made.tree,
            made.environment,
            params.config,
            context.clock.now(),
            params.author,
            params.message,
            params.branch,
            made.parts,
        )
        # A commit whose content was built before is the newest build again: its place in the order must be the last.
        tx.delete(BUILDS, build.id)
        tx.put(BUILDS, build)
        environments.offer(tx, build)
        tx.append(
            context.event(
                "build.ready",
                f"project/{run.project}",
                run.project,
                commit=params.commit,
                build=build.digest,
                run=run.id,
                branch=params.branch,
            )
        )
        return self._reported(run)

    def failed(self, run: Run, tx: Transaction) -> Run:
        """The failing tests belong to the reason."""
        run = self._reported(run)
        report = report_of(run)
        if report is None or not report.failing:
            return run
        return replace(run, error=f"{run.error} ({report.told}: {report.names})")

    def _reported(self, run: Run) -> Run:
        """With the sum of what its tests reported, as far as they did."""
        reports = [each for step in run.steps if (each := self._report(run, step)) is not None]
        if not reports:
            return run
        return replace(run, result={**run.result, "tests": wire.to_builtins(total(reports))})

    def _report(self, run: Run, step: Step) -> Report | None:
        """Of a step that succeeded, now or when it was cached, an output; of one that failed, a file of its job."""
        stored = step.outputs.get(junit.OUTPUT)
        if step.state in DONE and stored:
            return wire.from_json(self._context.objects.get(stored), Report)
        left = job_dir(self._context.settings, run, step) / OUT / junit.OUTPUT
        if step.state is StepState.FAILED and left.is_file():
            return wire.from_json(left.read_bytes(), Report)
        return None

    def _checkout(self, params: Params, job: Path) -> Command:
        """Every tree that is not there yet: the whole repository, and the folders that parts are made from."""
        settings = self._context.settings
        missing = sorted({tree for tree in params.layout.sources.values() if not (settings.builds / tree).is_dir()})
        repo = shlex.quote(str(settings.repos / f"{params.project}.git"))
        lines = ["set -e"]
        for tree in missing:
            folder, archive = job / tree, job / f"{tree}.tar"
            quoted, packed = shlex.quote(str(folder)), shlex.quote(str(archive))
            lines += [
                f"rm -rf {quoted} && mkdir {quoted}",
                f"git --git-dir={repo} archive --format=tar -o {packed} {tree}",
                f"tar -xf {packed} -C {quoted} && rm {packed}",
                envs.publishing(folder, settings.builds / tree),
            ]
        return Command(shell="\n".join(lines), env=git.environment(), done=not missing)

    def _environment(self, params: Params, key: str, folder: str, job: Path) -> Command:
        settings = self._context.settings
        target = settings.envs / key
        source = settings.builds / params.layout.tree / folder
        script = envs.command(target, source, job / "env")
        return Command(shell=script, env=clean_environment(), done=envs.ready(target))

    def _build(self, params: Params, service: ServiceConfig, job: Path) -> Command:
        """In a copy, which becomes a tree of its own: named by what went in, so that it is made once."""
        settings = self._context.settings
        part = params.layout.parts[service.name]
        target, copy = settings.builds / part.tree, job / "src"
        lines = [
            "set -e",
            *_copied(settings.builds / source_of(params.layout, service), copy, job),
            f"/bin/sh -c {shlex.quote(service.build or '')}",
            "cd /",
            envs.publishing(copy, target),
        ]
        env, sealed = self._env(params, service, job), self._sealed(params, self._secrets(params))
        return Command(shell="\n".join(lines), env=env, done=target.is_dir(), sealed=sealed)

    def _test(self, params: Params, service: ServiceConfig, line: str, job: Path) -> Command:
        """Tests run in a copy, so that what they write does not become part of the build."""
        part = params.layout.parts[service.name]
        report = job / "pytest.xml"
        words = [sys.executable, "-I", "-m", "conveyor.effects.junit", str(job / OUT), str(report), *service.junit]
        reading = " ".join(shlex.quote(word) for word in words)
        lines = [
            "set -e",
            *_copied(self._context.settings.builds / part.tree, job / "src", job),
            f"code=0; /bin/sh -c {shlex.quote(line)} || code=$?",
            f"{reading} || true" if service.junit else f"[ ! -e {shlex.quote(str(report))} ] || {reading} || true",
            "exit $code",
        ]
        env = self._env(params, service, job)
        env["PYTEST_ADDOPTS"] = f"{env.get('PYTEST_ADDOPTS', '')} --junitxml={shlex.quote(str(report))}".strip()
        values = self._secrets(params)
        key = digest_bytes(wire.to_json(["test", part, line, service.junit, service.env, values]))
        return Command(shell="\n".join(lines), env=env, key=key, sealed=self._sealed(params, values))

    def _secrets(self, params: Params) -> dict[str, int]:
        with self._context.records.read() as tx:
            return secrets.of_tests(tx, params.project)

    def _sealed(self, params: Params, values: dict[str, int]) -> Path | None:
        with self._context.records.read() as tx:
            return secrets.sealed_file(self._context, tx, params.project, TEST, values)

    def _env(self, params: Params, service: ServiceConfig, job: Path) -> dict[str, str]:
        environment = self._context.settings.envs / params.layout.parts[service.name].environment
        return clean_environment(environment) | service.env | {"TMPDIR": str(job / "tmp")}


def report_of(run: Run) -> Report | None:
    """What the tests of a build run reported."""
    found = run.result.get("tests")
    return wire.from_builtins(found, Report) if found else None


def _copied(tree: Path, copy: Path, job: Path) -> list[str]:
    source, target, temporary = (shlex.quote(str(path)) for path in (tree, copy, job / "tmp"))
    return [f"mkdir -p {target} {temporary}", f"cp -R {source}/. {target}", f"cd {target}"]


def _environment_step(made: Layout, key: str) -> str:
    """`environment` for the root's; one of another folder is named after the first part that runs in it."""
    if key == made.environment:
        return _ENVIRONMENT
    return f"{_ENVIRONMENT}:{min(name for name, part in made.parts.items() if part.environment == key)}"


def _test_step(service: ServiceConfig, place: int) -> str:
    return f"{_TEST}{service.name}" if place == 0 else f"{_TEST}{service.name}:{place + 1}"
