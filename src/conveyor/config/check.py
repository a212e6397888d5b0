"""What types cannot say about a `conveyor.toml`: references, cycles, ranges and words with a fixed choice. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import date

from conveyor.config.check_model import check_model, check_rollout
from conveyor.config.check_notify import check_notify
from conveyor.config.check_source import check_source
from conveyor.config.check_sweep import check_sweep
from conveyor.config.demands import at_least, choice, function, positive
from conveyor.config.graph import check_inputs, cycles, files, references, routes
from conveyor.config.problem import Place, Problem, nearest
from conveyor.config.read import found
from conveyor.domain.contract import RuleKind
from conveyor.domain.project import (
    DATABASES,
    KINDS,
    MODES,
    DataConfig,
    EnvironmentConfig,
    ProjectConfig,
    ServiceConfig,
    StepConfig,
    WorkerConfig,
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ROUTE = re.compile(r"/[A-Za-z0-9._~/-]*", re.ASCII)


_BUCKET = re.compile(r"(s3|gs|az)://[^/*?\[\]\0]+/[^\0]+", re.ASCII)
_LEAST_LIMIT = {"rows": 1, "mb": 1, "memory_mb": 512}


def check(config: ProjectConfig) -> list[Problem]:
    return list(_all(config))


def _all(config: ProjectConfig) -> Iterator[Problem]:
    for data in config.data.values():
        yield from _data(data)
    for step in config.steps.values():
        yield from _step(step, config)
    yield from cycles(config)
    yield from files(config)
    for model in config.models.values():
        yield from check_model(model, config)
    for sweep in config.sweeps.values():
        yield from check_sweep(sweep, config)
    for service in config.services.values():
        yield from _service(service, config)
    for worker in config.workers.values():
        yield from _worker(worker, config)
        if worker.name in config.services:
            yield Problem(("worker", worker.name), "a service has this name already")
    for environment in config.environments.values():
        yield from _environment(environment, config)
    yield from choice(("preview", "database"), "database", config.preview.database, DATABASES)
    for receiver in config.notify.values():
        yield from check_notify(receiver)
    yield from at_least(("alerts", "budget"), config.alerts.budget, 0)
    yield from at_least(("alerts", "clean"), config.alerts.clean, 0)
    yield from positive(("preview", "expires"), config.preview.expires)
    yield from _variables(("preview",), config.preview.env)
    yield from routes(config)


def _data(data: DataConfig) -> Iterator[Problem]:
    at = ("data", data.name)
    yield from choice((*at, "kind"), "kind", data.kind, KINDS)
    yield from positive((*at, "fresh"), data.fresh)
    if data.kind == "files":
        yield from _files(at, data)
    for pattern in data.watch:
        yield from _pattern((*at, "watch"), pattern)
    yield from function((*at, "contract"), data.contract)
    yield from choice((*at, "mode"), "mode", data.mode, MODES)
    if data.mode == "upsert" and data.key is None:
        yield Problem((*at, "mode"), "upsert replaces rows by their key; name its column in `key`")
    if data.label and data.label.delay and data.time is None:
        yield Problem((*at, "label", "delay"), "a delay is counted from the event time; name its column in `time`")
    yield from check_source(at, data)
    for word in ("rows", "mb", "memory_mb"):
        yield from at_least((*at, "limits", word), getattr(data.limits, word), _LEAST_LIMIT[word])
    for column in data.banned:
        if column in (data.time, data.key):
            yield Problem((*at, "banned"), f'"{column}" is the event time or the key')
    for column, rule in data.rules.items():
        for word, value in rule.items():
            yield from _rule((*at, "rules", column, word), word, value)


def _files(at: Place, data: DataConfig) -> Iterator[Problem]:
    for key in ("watch", "contract", "rules", "source", "query"):
        if getattr(data, key):
            yield Problem((*at, key), "belongs to a table; a dataset of files grows by `conveyor data add`")
    if data.mode != "append":
        yield Problem((*at, "mode"), "belongs to a table; each version of files stands for itself")


def _pattern(at: Place, pattern: str) -> Iterator[Problem]:
    if _BUCKET.fullmatch(pattern):
        return
    parts = pattern.split("/")
    if not pattern or "\0" in pattern or parts[0] == "" or ".." in parts or "://" in pattern:
        yield Problem(
            at,
            f'expected a pattern below this folder such as "incoming/*.parquet", found "{pattern}"',
        )
    elif set(parts) <= {"", "."} or any("**" in part and part != "**" for part in parts):
        yield Problem(at, f'"{pattern}" matches no files; "**" stands alone between slashes')


def _rule(at: Place, word: str, value: object) -> Iterator[Problem]:
    match word:
        case RuleKind.MIN | RuleKind.MAX:
            wanted, good = "a number or a date", isinstance(value, int | float | date) and not isinstance(value, bool)
        case RuleKind.NOT_NULL | RuleKind.UNIQUE:
            wanted, good = "true or false", isinstance(value, bool)
        case RuleKind.ONE_OF:
            wanted, good = "a list", isinstance(value, list)
        case RuleKind.PATTERN:
            wanted, good = "a regular expression", isinstance(value, str) and _compiles(value)
        case RuleKind.MIN_LENGTH | RuleKind.MAX_LENGTH:
            wanted, good = "a number of characters", type(value) is int and value >= 0
        case RuleKind.TYPE:
            wanted, good = "a string", isinstance(value, str)
        case _:
            yield Problem(at, "unknown rule" + nearest(word, RuleKind))
            return
    if not good:
        yield Problem(at, f"expected {wanted}, found {found(value)}")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _step(step: StepConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("step", step.name)
    if (step.run is None) == (step.command is None):
        yield Problem(at, "needs either `run` (a function) or `command` (a shell command), and not both")
    yield from function((*at, "run"), step.run)
    yield from check_inputs((*at, "inputs"), step.inputs, config)
    yield from at_least((*at, "retries"), step.retries, 0)
    yield from at_least((*at, "cpus"), step.cpus, 1)
    yield from at_least((*at, "memory_mb"), step.memory_mb, 0)
    yield from positive((*at, "timeout"), step.timeout)
    yield from _variables(at, step.env)
    for name in step.secrets:
        yield from _variable((*at, "secrets"), name)
    for word in ("deps", "outs", "metrics", "persist", "uncached", "workdir"):
        paths = [step.workdir] if word == "workdir" else getattr(step, word)
        for path in paths:
            if not path or path.startswith("/") or posixpath.normpath(path) != path or path.startswith(".."):
                yield Problem((*at, word), f'expected a plain path below this folder, found "{path}"')


def _service(service: ServiceConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("service", service.name)
    for word, value in (("route", service.route), ("health", service.health)):
        if not _ROUTE.fullmatch(value):
            yield Problem((*at, word), f'expected a path that starts with "/", found "{value}"')
    if service.migrate and not service.database:
        yield Problem((*at, "migrate"), "needs `database`, the variable that says which database to migrate")
    for word in ("lock_timeout", "idle_timeout", "timeout"):
        yield from positive((*at, word), getattr(service, word))
    yield from _process(at, service, config)
    yield from check_rollout((*at, "rollout"), service.rollout)


def _worker(worker: WorkerConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("worker", worker.name)
    if worker.name in config.services:
        yield Problem(at, f"service.{worker.name} has that name already")
    yield from positive((*at, "drain"), worker.drain)
    yield from _process(at, worker, config)


def _process(at: Place, process: ServiceConfig | WorkerConfig, config: ProjectConfig) -> Iterator[Problem]:
    if not process.run.strip():
        yield Problem((*at, "run"), "is empty")
    parts = process.path.split("/")
    if not process.path or parts[0] == "" or ".." in parts:
        yield Problem(
            (*at, "path"), f'expected a folder of the repository such as "services/web", found "{process.path}"'
        )
    yield from references((*at, "uses"), process.uses, {f"model.{name}" for name in config.models})
    if process.database is not None:
        yield from _variable((*at, "database"), process.database)
    for name in process.secrets:
        yield from _variable((*at, "secrets"), name)
        if name in process.env:
            yield Problem((*at, "secrets"), f'"{name}" has a value in `env` too; a secret does not belong in git')
    yield from _variables(at, process.env)
    yield from at_least((*at, "replicas"), process.replicas, 1)
    if process.memory_mb is not None:
        yield from at_least((*at, "memory_mb"), process.memory_mb, 1)


def _environment(environment: EnvironmentConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("environment", environment.name)
    if environment.name.startswith("preview-"):
        yield Problem(at, 'names that begin with "preview-" are those of previews')
    if environment.source is not None and environment.source == environment.name:
        yield Problem((*at, "from"), "an environment cannot be promoted from itself")
    elif environment.source is not None:
        yield from choice((*at, "from"), "environment", environment.source, config.environments)
    yield from _variables(at, environment.env)


def _variables(at: Place, env: Mapping[str, str]) -> Iterator[Problem]:
    for name in env:
        yield from _variable((*at, "env", name), name)


def _variable(at: Place, name: str) -> Iterator[Problem]:
    if not _VARIABLE.fullmatch(name):
        yield Problem(at, f'"{name}" is not the name of an environment variable')
