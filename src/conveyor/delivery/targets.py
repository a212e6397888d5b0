"""The targets of a release: what each one runs, and under which content-addressed name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from conveyor.config.settings import Settings
from conveyor.delivery import secrets
from conveyor.domain import wire
from conveyor.domain.environment import path, placed
from conveyor.domain.form import ONNX, form_of
from conveyor.domain.model import ModelVersion
from conveyor.domain.preview import is_preview
from conveyor.domain.project import RolloutConfig, ServeConfig, ServiceConfig, WorkerConfig
from conveyor.domain.release import Build, Release
from conveyor.domain.secret import component
from conveyor.domain.state import Instance
from conveyor.effects.environment import clean_environment
from conveyor.effects.processes import Program
from conveyor.effects.sealed import wrapped
from conveyor.engine.context import Context
from conveyor.serving.check import Server
from conveyor.stores.collections import BUILDS, MODEL_VERSIONS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

_WORKER_ROLLOUT = RolloutConfig(
    steps=(100,),
    hold=timedelta(0),
    watch=timedelta(seconds=10),
    drain=timedelta(0),
    start_timeout=timedelta(seconds=30),
)
_DIGITS = 10  # of the content digest in names; enough to tell a project's versions apart


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that traffic reaches. Equal content has an equal `cluster`, so what did not change is not restarted."""

    name: str  # service.web | worker.mail | model.fraud
    environment: str  # id
    cluster: str
    version: str  # what the answer's x-conveyor-version says
    component: str  # build:… | model:…, what a failed rollout rejects
    prefix: str  # empty: a worker, which no request reaches
    health: str
    replicas: int
    rollout: RolloutConfig
    build: Build
    model: ModelVersion | None = None
    process: ServiceConfig | WorkerConfig | None = None
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, int] = field(default_factory=dict)  # name -> version of the value
    idle: timedelta = timedelta(minutes=5)

    @property
    def components(self) -> set[str]:
        """All that it is made from: what a failed rollout may reject."""
        return {self.component, *(component(name, version) for name, version in self.secrets.items())}

    @property
    def overlaps(self) -> bool:
        """Whether two versions of it may run at once."""
        return not isinstance(self.process, WorkerConfig) or self.process.overlap

    @property
    def memory_mb(self) -> int | None:
        return self.process.memory_mb if self.process else None


def targets(tx: Transaction, settings: Settings, release: Release | None) -> dict[str, Target]:
    """All targets of a release, by name."""
    if release is None:
        return {}
    build = placed(tx.need(BUILDS, f"{release.project}/{release.build}"), release.environment_name)
    environment = release.environment
    processes: list[ServiceConfig | WorkerConfig] = [*build.config.services.values(), *build.config.workers.values()]
    found = [_process(settings, environment, build, process, release.secrets) for process in processes]
    for name, number in release.models.items():
        version = tx.need(MODEL_VERSIONS, f"{release.project}/{name}@{number}")
        found.append(_model(environment, build, version))
    return {target.name: target for target in found}


def service_environment(settings: Settings, environment: str, service: ServiceConfig | WorkerConfig) -> dict[str, str]:
    """What a service is told: its own variables, its database, where the models it uses answer."""
    env = {"CONVEYOR_ENVIRONMENT": environment, **service.env}
    if service.database and service.database not in env:
        env[service.database] = f"sqlite:///{database_path(settings, environment, service.database)}"
    for use in service.uses:
        model = use.removeprefix("model.")
        address = f"{settings.public_url}{path(environment)}/v2/models/{model}"
        env[f"CONVEYOR_MODEL_{model.upper().replace('-', '_')}"] = address
    return env


def database_path(settings: Settings, environment: str, variable: str) -> Path:
    return settings.home / "databases" / environment / f"{variable.lower()}.db"


def artifact_dir(settings: Settings, version: ModelVersion) -> Path:
    return settings.home / "models" / version.project / version.name / str(version.version)


def program(context: Context, target: Target, instance: Instance) -> Program:
    """The process of one instance."""
    settings = context.settings
    log = settings.logs / "processes" / f"{instance.id}.log"
    if target.model is not None:
        return _model_program(context, target, target.model, instance, log)
    assert target.process is not None
    part = target.build.part(target.process.name)
    env = clean_environment(settings.envs / part.environment) | target.env
    if target.prefix:
        env["PORT"] = str(instance.port)
    command: tuple[str, ...] = ("/bin/sh", "-c", f"exec {target.process.run}")
    with context.records.read() as tx:
        project, _, environment = target.environment.partition("/")
        sealed = secrets.sealed_file(context, tx, project, environment, target.secrets)
    if sealed is not None:
        command = wrapped(str(sealed), command, str(log))
    stop = max(1, round(target.process.drain.total_seconds())) if isinstance(target.process, WorkerConfig) else 10
    return Program(instance.id, command, settings.builds / part.tree, env, log, stop_seconds=stop, keyed=bool(sealed))


def _model_program(context: Context, target: Target, model: ModelVersion, instance: Instance, log: Path) -> Program:
    folder = _materialise(context, model)
    observations = _observations(context.settings, target.environment) / model.project / model.name / str(model.version)
    signed = model.artifact if model.provenance else {}
    server = server_of(context.settings, target.build, model)
    argv = (
        *(server.python, "-m", "conveyor.serving", "--artifact", str(folder)),
        *("--name", model.name, "--version", str(model.version)),
        *("--host", "127.0.0.1", "--port", str(instance.port), "--observations", str(observations)),
        *(("--socket", instance.socket) if instance.socket else ()),
        *_serving(_serve_config(target.build, model.name)),
        *_redacted(target.build, model.name),
        *server.words,
        *(word for pair in sorted(signed.items()) for word in ("--digest", "=".join(pair))),
    )
    return Program(instance.id, argv, server.cwd, dict(server.env), log)


def _serve_config(build: Build, model: str) -> ServeConfig:
    config = build.config.models.get(model)
    return config.serve if config else ServeConfig()


def _serving(config: ServeConfig) -> tuple[str, ...]:
    """What its `serve` section says, as words for the server."""
    workers = ("--workers", str(config.workers)) if config.workers > 1 else ()
    return (*workers, *(("--sync",) if config.observations == "sync" else ()))


def server_of(settings: Settings, build: Build, model: ModelVersion) -> Server:
    """What its model server runs in."""
    return server_for(settings, build, model.name, model.artifact)


def server_for(settings: Settings, build: Build, name: str, artifact: Iterable[str]) -> Server:
    """What scores an artifact of these files: the control plane's own interpreter, or the project's.

    What its framework scores runs where the project's code runs; the project says which types it may hold.
    """
    if form_of(artifact) == ONNX:
        return Server(sys.executable, settings.home, clean_environment())
    trust = tuple(word for type_ in _trusted(build, name) for word in ("--trust", type_))
    return replace(project_server(settings, build), words=trust)


def project_server(settings: Settings, build: Build) -> Server:
    """The interpreter of the project's environment, in its tree."""
    part = build.part("")
    envs, cwd = settings.envs / part.environment, settings.builds / part.tree
    return Server(str(envs / "bin" / "python"), cwd, clean_environment(envs) | {"PYTHONPATH": str(cwd)})


def _trusted(build: Build, model: str) -> tuple[str, ...]:
    config = build.config.models.get(model)
    return config.trusted if config else ()


def _observations(settings: Settings, environment: str) -> Path:
    """What a preview predicts is none of the traffic that monitoring watches; it goes when the preview does."""
    preview = is_preview(environment.rpartition("/")[2])
    return settings.home / "previews" / environment if preview else settings.observations


def _materialise(context: Context, model: ModelVersion) -> Path:
    """The artifact as named files, verified on the way; made once per version."""
    folder = artifact_dir(context.settings, model)
    if not folder.exists():
        temporary = folder.with_suffix(".new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, digest in model.artifact.items():
            shutil.copyfile(context.objects.path(digest), temporary / name)
        temporary.rename(folder)
    return folder


def _process(
    settings: Settings, environment: str, build: Build, process: ServiceConfig | WorkerConfig, values: dict[str, int]
) -> Target:
    env = service_environment(settings, environment, process)
    given = {name: values[name] for name in process.secrets if name in values}
    part = build.part(process.name)
    content = digest_bytes(wire.to_json([part, process.run, env, given]))[:_DIGITS]
    service = process if isinstance(process, ServiceConfig) else None
    name = f"service.{process.name}" if service else f"worker.{process.name}"
    return Target(
        name=name,
        environment=environment,
        cluster=_cluster(environment, name, content),
        version=f"{process.name}@{build.commit[:8]}",
        component=f"build:{build.digest}",
        prefix=service.route if service else "",
        health=service.health if service else "",
        replicas=process.replicas,
        rollout=service.rollout if service else _WORKER_ROLLOUT,
        build=build,
        process=process,
        env=env,
        secrets=given,
        idle=service.idle_timeout if service else timedelta(0),
    )


def _redacted(build: Build, model: str) -> tuple[str, ...]:
    """What its server must not log, as words for it."""
    config = build.config.models.get(model)
    return tuple(word for name in (config.observations.redact if config else ()) for word in ("--redact", name))


def _model(environment: str, build: Build, version: ModelVersion) -> Target:
    name = f"model.{version.name}"
    config = build.config.models.get(version.name)
    inputs: list[object] = [version.version, version.artifact]
    if form_of(version.artifact) != ONNX:
        inputs += [build.part(""), _trusted(build, version.name)]
    if serving := _serving(_serve_config(build, version.name)):
        inputs.append(serving)
    if redacted := _redacted(build, version.name):
        inputs.append(redacted)
    content = digest_bytes(wire.to_json(inputs))[:_DIGITS]
    return Target(
        name=name,
        environment=environment,
        cluster=_cluster(environment, name, content),
        version=f"{version.name}@{version.version}",
        component=f"model:{version.name}@{version.version}",
        prefix=f"/v2/models/{version.name}",
        health="/v2/health/ready",
        replicas=1,
        rollout=config.rollout if config else RolloutConfig(),
        build=build,
        model=version,
    )


def _cluster(environment: str, name: str, content: str) -> str:
    return f"{environment.replace('/', '-')}-{name}-{content}"
