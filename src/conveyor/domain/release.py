"""Builds, releases and environments, and how the next release is composed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.project import ProjectConfig


@dataclass(frozen=True, slots=True)
class Part:
    """What one service or worker is made from: folders of `builds/` and `envs/`, both named by their content."""

    tree: str
    environment: str


@dataclass(frozen=True, slots=True)
class Build:
    """A commit turned into something runnable. `digest` addresses all parts together.

    `tree` and `environment` are those of the whole repository, which steps and models run in; a service or worker
    that is not in `parts` runs in them too.
    """

    project: str
    digest: str
    commit: str
    tree: str
    environment: str
    config: ProjectConfig
    created: datetime
    author: str = ""
    subject: str = ""
    branch: str = "main"
    parts: dict[str, Part] = field(default_factory=dict)

    def part(self, name: str) -> Part:
        return self.parts.get(name) or Part(self.tree, self.environment)

    @property
    def id(self) -> str:
        return f"{self.project}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Release:
    """What is rolled out in an environment, as one: the build of all services, and the model versions."""

    project: str
    environment_name: str
    number: int
    build: str  # digest; its config is the release's config
    commit: str
    models: dict[str, int]
    reason: str
    created: datetime
    secrets: dict[str, int] = field(default_factory=dict)  # name -> version of the value

    @property
    def id(self) -> str:
        return f"{self.environment}/{self.number}"

    @property
    def environment(self) -> str:
        return f"{self.project}/{self.environment_name}"

    @property
    def components(self) -> tuple[str, ...]:
        """What can be rejected on its own: `build:<digest>`, `model:<name>@<version>`."""
        return (f"build:{self.build}", *(f"model:{name}@{version}" for name, version in sorted(self.models.items())))


@dataclass(frozen=True, slots=True)
class Environment:
    """A linear history of releases, one of them live."""

    project: str
    name: str
    live: int | None = None
    rollout: str | None = None  # id of the open rollout
    releases: int = 0  # the newest number given out
    rejected: dict[str, str] = field(default_factory=dict)  # component -> why
    waiting: str = ""
    builds: tuple[str, ...] = ()  # digests meant for it, newest first: pushed to its branch, or promoted
    branch: str = ""  # of a preview
    expires: datetime | None = None  # of a preview
    proposal: str = ""  # what waits for approval; `approved` is the one that a person approved last
    approved: str = ""

    @property
    def id(self) -> str:
        return f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True)
class Composition:
    """The next release's content, or why there is none."""

    build: Build | None = None
    models: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    waiting: str = ""


def compose(
    environment: Environment,
    live: Release | None,
    builds: tuple[Build, ...],
    models: dict[str, tuple[ModelVersion, ...]],
) -> Composition:
    """What should be live: the newest build and model versions that no rollout rejected (both lists newest first).

    A service that uses a model waits for its first version; a model that no service uses is released all the same.
    """
    build = next((b for b in builds if f"build:{b.digest}" not in environment.rejected), None)
    if build is None:
        return Composition(waiting="no build has passed its tests")
    chosen: dict[str, int] = {}
    for name in build.config.models:
        version = next((v for v in models.get(name, ()) if _fit(environment, v)), None)
        if version is not None:
            chosen[name] = version.version
    used = sorted({use.removeprefix("model.") for service in build.config.services.values() for use in service.uses})
    missing = [name for name in used if name not in chosen]
    if missing:
        return Composition(waiting=f"model.{missing[0]} has no version that passed its gates yet")
    if live is not None and live.build == build.digest and live.models == chosen:
        return Composition()
    return Composition(build, chosen, _why(live, build, chosen))


def _fit(environment: Environment, version: ModelVersion) -> bool:
    return version.status is ModelStatus.READY and f"model:{version.name}@{version.version}" not in environment.rejected


def _why(live: Release | None, build: Build, models: dict[str, int]) -> str:
    if live is None:
        return f"first release, from push {build.commit[:8]}"
    changes = []
    if live.build != build.digest:
        changes.append(f"push {build.commit[:8]}" + (f" ({build.subject})" if build.subject else ""))
    before = live.models
    changes += [f"{name} v{version}" for name, version in sorted(models.items()) if before.get(name) != version]
    return " and ".join(changes) or "models removed"
