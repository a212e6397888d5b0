"""What a project's configuration says of its environments: which branch rules, and who takes what. Pure."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeVar

from conveyor.domain.preview import brisk, is_preview, own_url
from conveyor.domain.project import EnvironmentConfig, ProjectConfig, ServiceConfig, WorkerConfig
from conveyor.domain.release import Build

PRODUCTION = "production"
P = TypeVar("P", ServiceConfig, WorkerConfig)


def main(config: ProjectConfig) -> EnvironmentConfig:
    """The environment that users are on: production, or the first one of a project that declares no such name."""
    return config.environments.get(PRODUCTION) or next(
        iter(config.environments.values()), EnvironmentConfig(PRODUCTION)
    )


def trunk(config: ProjectConfig) -> str:
    """The branch whose builds reach production: its own, or that of the environment that it is promoted from."""
    environment, seen = main(config), set()
    while environment.source in config.environments and environment.name not in seen:
        seen.add(environment.name)
        environment = config.environments[environment.source or ""]
    return environment.branch


def followers(config: ProjectConfig, branch: str) -> list[EnvironmentConfig]:
    """Those that take what is pushed to a branch; one with `from` takes nothing from any."""
    return [each for each in config.environments.values() if each.source is None and each.branch == branch]


def host(project: str, environment: str) -> str:
    """The name under which an environment answers on the public port; `localhost` and all below it is this machine."""
    return f"{environment}.{project}.localhost"


def hosts(project: str, environment: str, *, first: bool) -> tuple[str, ...]:
    """All of them; production of the project that was there first takes every name that nothing else has."""
    named = host(project, environment)
    return ("*", named) if first and environment == PRODUCTION else (named,)


def path(environment: str) -> str:
    """Where an environment's models answer on every host: what calls them need not resolve names. `environment`: id."""
    return f"/@{environment}"


def previewed(config: ProjectConfig, branch: str) -> bool:
    """Whether a branch gets a preview; one that an environment follows has its place already."""
    return not followers(config, branch) and any(fnmatchcase(branch, each) for each in config.preview.branches)


def placed(build: Build, name: str) -> Build:
    """The build as an environment runs it: with the environment's variables, and in a preview with its own databases.

    All that starts a process of a build in an environment starts it from this, or a preview could write elsewhere.
    """
    config = build.config
    services = {each.name: _placed(each, config, name) for each in config.services.values()}
    workers = {each.name: _placed(each, config, name) for each in config.workers.values()}
    if is_preview(name):
        services = {each.name: replace(each, rollout=brisk(each.rollout)) for each in services.values()}
        models = {each.name: replace(each, rollout=brisk(each.rollout)) for each in config.models.values()}
        config = replace(config, models=models)
    return replace(build, config=replace(config, services=services, workers=workers))


def database_url(config: ProjectConfig, process: ServiceConfig | WorkerConfig) -> str | None:
    """Where the configuration says that production's database of a process is; None: Conveyor made it."""
    return {**process.env, **main(config).env}.get(process.database or "")


def _placed(process: P, config: ProjectConfig, name: str) -> P:
    if not is_preview(name):
        declared = config.environments.get(name)
        return replace(process, env={**process.env, **(declared.env if declared else {})})
    env = {**process.env, **config.preview.env}
    if process.database and process.database not in config.preview.env:
        env.pop(process.database, None)  # left out, Conveyor makes one for this environment alone
        url = database_url(config, process)
        if url and (own := own_url(url, name)):
            env[process.database] = own
    return replace(process, env=env)
