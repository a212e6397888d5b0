"""Builds, releases and environments, and how the next release is composed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.project import ProjectConfig, ServiceConfig, WorkerConfig
from conveyor.domain.secret import component, missing

MOST_BUILDS = 20
"""How many builds an environment remembers as meant for it: enough to find one that was not rejected."""


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
        """What can be rejected on its own: `build:<digest>`, `model:<name>@<version>`, `secret:<name>@<version>`."""
        return _components(self.build, self.models, self.secrets)


@dataclass(frozen=True, slots=True)
class Content:
    """What the next release must be exactly, whatever is newer: promoted from another environment, or gone back to."""

    build: str
    models: dict[str, int]
    reason: str
    approved: bool = False  # a person asked for just this: it does not wait for another word

    @property
    def components(self) -> tuple[str, ...]:
        return _components(self.build, self.models)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A composed release that waits for a person. `key` names its content: an approval is of that, of nothing newer."""

    key: str
    text: str
    commit: str
    components: tuple[str, ...]
    created: datetime


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
    exact: Content | None = None  # what its next release must be
    proposal: Proposal | None = None  # what waits for approval
    approved: str = ""  # the key of the proposal that a person approved last
    branch: str = ""  # of a preview
    expires: datetime | None = None  # of a preview
    setup: str = ""  # of a preview: the run that makes its databases, before its first release
    ending: str = ""  # why it is being taken down

    @property
    def id(self) -> str:
        return f"{self.project}/{self.name}"

    def meant(self, digest: str) -> Environment:
        """With this build as the newest that is meant for it."""
        rest = (other for other in self.builds if other != digest)
        return replace(self, builds=(digest, *rest)[:MOST_BUILDS])


@dataclass(frozen=True, slots=True)
class Composition:
    """The next release's content, or why there is none."""

    build: Build | None = None
    models: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    waiting: str = ""
    approved: bool = False  # asked for by a person, so that it waits for no approval
    secrets: dict[str, int] = field(default_factory=dict)

    @property
    def components(self) -> tuple[str, ...]:
        return _components(self.build.digest, self.models, self.secrets) if self.build else ()

    @property
    def key(self) -> str:
        return " ".join(self.components)


def compose(
    environment: Environment,
    live: Release | None,
    builds: tuple[Build, ...],
    models: dict[str, tuple[ModelVersion, ...]],
    secrets: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    damaged: frozenset[str] = frozenset(),
) -> Composition:
    """What should be live: the newest build and model versions that no rollout rejected (both lists newest first).

    Models whose live version is `damaged` keep it until there is a newer one: it runs, and an older one is no repair.

    `builds` are those that are meant for the environment. A service that uses a model waits for its first version; a
    model that no service uses is released all the same. Of every secret that is declared there must be a value.
    """
    asked = _asked(environment, live, builds)
    build = asked[0] if asked else next((b for b in builds if f"build:{b.digest}" not in environment.rejected), None)
    if build is None:
        every = "every build that is meant for it was rejected"
        return Composition(waiting=every if environment.builds else "no build has passed its tests")
    chosen = asked[1].models if asked else _newest(environment, build, models)
    if live is not None and not asked:
        for name in damaged & live.models.keys() & build.config.models.keys():
            if f"model:{name}@{live.models[name]}" not in environment.rejected:
                chosen[name] = max(live.models[name], chosen.get(name, 0))
    used = sorted({use.removeprefix("model.") for service in build.config.services.values() for use in service.uses})
    lacking = [name for name in used if name not in chosen]
    if lacking:
        return Composition(waiting=_unfit(build, lacking[0], models.get(lacking[0], ())))
    values = _values(environment, build, secrets)
    unset = [name for name in declared(build.config) if name not in values]
    if unset:
        return Composition(waiting=missing(unset[0], environment.name))
    if live is not None and live.build == build.digest and live.models == chosen and live.secrets == values:
        return Composition()
    reason = asked[1].reason if asked else _why(live, build, chosen, values)
    composition = Composition(build, chosen, reason, approved=asked is not None and asked[1].approved, secrets=values)
    # A proposal that only takes something away has no component that could be ruled out; its key is.
    return Composition() if not asked and composition.key in environment.rejected else composition


def _newest(environment: Environment, build: Build, models: dict[str, tuple[ModelVersion, ...]]) -> dict[str, int]:
    found = {
        name: next((v for v in models.get(name, ()) if _fit(environment, v) and _takes(v, build)), None)
        for name in build.config.models
    }
    return {name: version.version for name, version in found.items() if version is not None}


def _takes(version: ModelVersion, build: Build) -> bool:
    """Whether its signature is the one that the build's services were written for."""
    features = build.config.models[version.name].features
    return not features or version.signature.features == features


def _unfit(build: Build, name: str, versions: tuple[ModelVersion, ...]) -> str:
    """Why none of a model's versions can be released with this build."""
    ready = [version for version in versions if version.status is ModelStatus.READY]
    if not ready or _takes(ready[0], build):
        return f"model.{name} has no version that passed its gates yet"
    wanted, given = build.config.models[name].features, ready[0].signature.features
    more = [f"+{feature}" for feature in wanted if feature not in given]
    less = [f"-{feature}" for feature in given if feature not in wanted]
    differs = ", ".join([*more, *less]) or "another order"
    return (
        f"model.{name} v{ready[0].version} has another signature than push {build.commit[:8]} declares ({differs}); "
        "the release waits for a version that is trained from that push"
    )


def _asked(environment: Environment, live: Release | None, builds: tuple[Build, ...]) -> tuple[Build, Content] | None:
    """The content that a person asked for, unless it is live already, was rejected meanwhile or is gone."""
    exact = environment.exact
    if exact is None or set(exact.components) & set(environment.rejected):
        return None
    if live is not None and live.build == exact.build and live.models == exact.models:
        return None
    build = next((b for b in builds if b.digest == exact.build), None)
    return None if build is None else (build, exact)


def declared(config: ProjectConfig) -> tuple[str, ...]:
    """The names of all secrets that the project's services and workers are given."""
    processes: list[ServiceConfig | WorkerConfig] = [*config.services.values(), *config.workers.values()]
    return tuple(sorted({name for process in processes for name in process.secrets}))


def _values(environment: Environment, build: Build, secrets: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The newest version of each declared secret that no rollout rejected."""
    chosen = {}
    for name in declared(build.config):
        fit = (version for version in secrets.get(name, ()) if component(name, version) not in environment.rejected)
        if (version := next(fit, None)) is not None:
            chosen[name] = version
    return chosen


def _components(
    build: str, models: dict[str, int], secrets: Mapping[str, int] = MappingProxyType({})
) -> tuple[str, ...]:
    parts = [f"model:{name}@{version}" for name, version in sorted(models.items())]
    return (f"build:{build}", *parts, *(component(name, version) for name, version in sorted(secrets.items())))


def _fit(environment: Environment, version: ModelVersion) -> bool:
    return version.status is ModelStatus.READY and f"model:{version.name}@{version.version}" not in environment.rejected


def _why(live: Release | None, build: Build, models: dict[str, int], secrets: dict[str, int]) -> str:
    if live is None:
        return f"first release, from push {build.commit[:8]}"
    changes = []
    if live.build != build.digest:
        changes.append(f"push {build.commit[:8]}" + (f" ({build.subject})" if build.subject else ""))
    before = live.models
    changes += [f"{name} v{version}" for name, version in sorted(models.items()) if before.get(name) != version]
    was = live.secrets
    changes += [f"secret {name} changed" for name, version in sorted(secrets.items()) if was.get(name) != version]
    return " and ".join(changes) or ("models removed" if before != models else "secrets removed")
