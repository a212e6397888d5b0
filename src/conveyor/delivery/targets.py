"""The targets of a release: what each one runs, and under which content-addressed name."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from conveyor.config.settings import Settings
from conveyor.domain import wire
from conveyor.domain.model import ModelVersion
from conveyor.domain.project import RolloutConfig, ServiceConfig
from conveyor.domain.release import Build, Release
from conveyor.domain.state import Instance
from conveyor.effects.environment import clean_environment
from conveyor.effects.processes import Program
from conveyor.engine.context import Context
from conveyor.stores.collections import BUILDS, MODEL_VERSIONS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

_DIGITS = 10  # of the content digest in names; enough to tell a project's versions apart


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that traffic reaches. Equal content has an equal `cluster`, so what did not change is not restarted."""

    name: str  # service.web | model.fraud
    environment: str  # id
    cluster: str
    version: str  # what the answer's x-conveyor-version says
    component: str  # build:… | model:…, what a failed rollout rejects
    prefix: str
    health: str
    replicas: int
    rollout: RolloutConfig
    build: Build
    model: ModelVersion | None = None
    service: ServiceConfig | None = None
    env: dict[str, str] = field(default_factory=dict)


def targets(tx: Transaction, settings: Settings, release: Release | None) -> dict[str, Target]:
    """All targets of a release, by name."""
    if release is None:
        return {}
    build = tx.need(BUILDS, f"{release.project}/{release.build}")
    environment = release.environment
    found = [_service(settings, environment, build, service) for service in build.config.services.values()]
    for name, number in release.models.items():
        version = tx.need(MODEL_VERSIONS, f"{release.project}/{name}@{number}")
        found.append(_model(environment, build, version))
    return {target.name: target for target in found}


def service_environment(settings: Settings, environment: str, service: ServiceConfig) -> dict[str, str]:
    """What a service is told: its own variables, its database, where the models it uses answer."""
    env = {"CONVEYOR_ENVIRONMENT": environment, **service.env}
    if service.database and service.database not in env:
        env[service.database] = f"sqlite:///{database_path(settings, environment, service.database)}"
    for use in service.uses:
        model = use.removeprefix("model.")
        env[f"CONVEYOR_MODEL_{model.upper().replace('-', '_')}"] = f"{settings.public_url}/v2/models/{model}"
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
    assert target.service is not None
    tree = settings.builds / target.build.tree
    env = clean_environment(settings.envs / target.build.environment) | target.env | {"PORT": str(instance.port)}
    return Program(instance.id, ("/bin/sh", "-c", f"exec {target.service.run}"), tree, env, log)


def _model_program(context: Context, target: Target, model: ModelVersion, instance: Instance, log: Path) -> Program:
    folder = _materialise(context, model)
    observations = context.settings.observations / model.project / model.name / str(model.version)
    argv = (
        *(sys.executable, "-m", "conveyor.serving", "--artifact", str(folder)),
        *("--name", model.name, "--version", str(model.version)),
        *("--host", "127.0.0.1", "--port", str(instance.port), "--observations", str(observations)),
    )
    return Program(instance.id, argv, context.settings.home, clean_environment(), log)


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


def _service(settings: Settings, environment: str, build: Build, service: ServiceConfig) -> Target:
    env = service_environment(settings, environment, service)
    content = digest_bytes(wire.to_json([build.digest, service, env]))[:_DIGITS]
    name = f"service.{service.name}"
    return Target(
        name=name,
        environment=environment,
        cluster=_cluster(environment, name, content),
        version=f"{service.name}@{build.commit[:8]}",
        component=f"build:{build.digest}",
        prefix=service.route,
        health=service.health,
        replicas=service.replicas,
        rollout=service.rollout,
        build=build,
        service=service,
        env=env,
    )


def _model(environment: str, build: Build, version: ModelVersion) -> Target:
    name = f"model.{version.name}"
    config = build.config.models.get(version.name)
    content = digest_bytes(wire.to_json([version.version, version.artifact]))[:_DIGITS]
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
