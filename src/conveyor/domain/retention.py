"""What must be kept, and what may go: everything that a release, a rollback, an open run or a person still needs stays.

Reachable is: the live release of every environment, the one being rolled out, the last ones that were completed (what
a rollback goes back to), and what may be composed or approved next; their builds, model versions and backups; the
newest builds; and whatever an open run names. All else goes once it is older than a grace time. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.release import Build, Environment, Part, Release
from conveyor.domain.run import Run
from conveyor.domain.state import Alias

_BACKUP = re.compile(r"before-release-(\d+)-")


class Kind(StrEnum):
    """The folders below `.conveyor/` that are collected; an item is a thing directly in one, or some levels below."""

    TREE = "builds"
    ENVIRONMENT = "envs"
    MODEL = "models"
    BACKUP = "backups"
    LOG = "logs/runs"
    PROCESS_LOG = "logs/processes"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Item:
    kind: Kind
    name: str  # its path below the kind's folder: a digest, shop/fraud/3, shop/production/before-release-4-…
    bytes: int
    modified: datetime

    @property
    def path(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Policy:
    releases: int = 10  # completed ones of each environment: how far a rollback goes back
    builds: int = 20  # newest ones of each project
    grace: timedelta = timedelta(days=1)  # nothing younger is touched, whoever needs it
    logs: timedelta = timedelta(days=30)  # of runs; and backups that no release is named by
    models: int = 0  # newest versions of each model that stay, whoever needs them; 0: all


@dataclass(frozen=True, slots=True)
class Past:
    """A release that was made; `completed`: its rollout ended well."""

    release: Release
    completed: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the records say, newest first where there is an order."""

    environments: tuple[Environment, ...] = ()
    releases: Mapping[str, tuple[Past, ...]] = field(default_factory=dict)  # by environment id
    builds: tuple[Build, ...] = ()
    runs: tuple[Run, ...] = ()  # the open ones
    processes: frozenset[str] = frozenset()  # names of those that run, or are about to
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    item: Item
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Why things are needed, by the path of the item; and the oldest release that each environment may go back to."""

    reasons: Mapping[str, str]
    oldest: Mapping[str, int]
    runs: frozenset[str]
    processes: frozenset[str]


def decide(items: Iterable[Item], known: Known, policy: Policy, now: datetime) -> list[Verdict]:
    """A verdict with its reason for each item."""
    needs = needed(known, policy)
    items = list(items)
    newest = _newest_backups(items)
    return [_verdict(item, needs, newest, policy, now) for item in items]


def needed(known: Known, policy: Policy) -> Needs:
    reasons: dict[str, str] = {}
    oldest: dict[str, int] = {}
    builds = {build.id: build for build in known.builds}
    for path, why in of_models(known, policy):
        reasons.setdefault(path, why)
    for environment in known.environments:
        for release, why in _kept(environment, known.releases.get(environment.id, ()), policy):
            oldest[environment.id] = min(release.number, oldest.get(environment.id, release.number))
            _add(reasons, _of_build(builds.get(f"{release.project}/{release.build}")), why)
        for digest in _possible(environment):
            build = builds.get(f"{environment.project}/{digest}")
            _add(reasons, _of_build(build), f"it may be released next in {environment.id}")
    for build in _newest_builds(known.builds, policy.builds):
        _add(reasons, _of_build(build), f"one of the {policy.builds} newest builds of {build.project}")
    for run in known.runs:
        _add(reasons, _of_run(run, known.builds), f"run {run.id} ({run.kind}) is open and names it")
    return Needs(reasons, oldest, frozenset(run.id for run in known.runs), known.processes)


def of_models(known: Known, policy: Policy) -> Iterator[tuple[str, str]]:
    """Every reason why a model version is needed, by the path of its artifact: `models/shop/fraud/3`.

    Releases, those that a rollback may go back to, what is asked for or waits for a person's word, and aliases.
    """
    for environment in known.environments:
        for release, why in _kept(environment, known.releases.get(environment.id, ()), policy):
            for name, version in release.models.items():
                yield model_path(release.project, name, version), why
        exact = environment.exact.models.items() if environment.exact else ()
        proposed = _proposed_models(environment)
        for name, version in (*exact, *proposed):
            yield model_path(environment.project, name, version), f"it may be released next in {environment.id}"
    for alias in known.aliases:
        project, _, name = alias.model.partition("/")
        yield model_path(project, name, alias.version), f"alias {alias.name} of {alias.model} points to it"


def surplus(versions: Iterable[ModelVersion], needed: Container[str], keep: int) -> list[ModelVersion]:
    """The versions of one model, newest first, that are beyond the newest `keep` and that nothing needs.

    The newest one that may be released stays too.
    """
    there = [version for version in versions if version.artifact]
    ready = next((version for version in there if version.status is ModelStatus.READY), None)
    return [
        version
        for version in (there[keep:] if keep > 0 else ())
        if version is not ready and model_path(version.project, version.name, version.version) not in needed
    ]


def model_path(project: str, name: str, version: int) -> str:
    return f"{Kind.MODEL}/{project}/{name}/{version}"


def _proposed_models(environment: Environment) -> Iterator[tuple[str, int]]:
    for component in environment.proposal.components if environment.proposal else ():
        kind, _, what = component.partition(":")
        name, _, version = what.rpartition("@")
        if kind == "model" and version.isdecimal():
            yield name, int(version)


def _kept(environment: Environment, past: tuple[Past, ...], policy: Policy) -> Iterator[tuple[Release, str]]:
    completed = 0
    for each in past:
        release = each.release
        if release.number == environment.live:
            yield release, f"release {release.number} is live in {environment.id}"
        if release.id == environment.rollout:
            yield release, f"release {release.number} is being rolled out in {environment.id}"
        if each.completed and completed < policy.releases:
            completed += 1
            yield release, f"a rollback of {environment.id} may go back to release {release.number}"


def _possible(environment: Environment) -> Iterator[str]:
    """Builds that the next release of an environment may be made of."""
    yield from environment.builds
    if environment.exact is not None:
        yield environment.exact.build
    if environment.proposal is not None:
        yield from (c.removeprefix("build:") for c in environment.proposal.components if c.startswith("build:"))


def _newest_builds(builds: Iterable[Build], count: int) -> Iterator[Build]:
    seen: dict[str, int] = {}
    for build in builds:
        seen[build.project] = seen.get(build.project, 0) + 1
        if seen[build.project] <= count:
            yield build


def _of_build(build: Build | None) -> Iterator[str]:
    if build is None:
        return
    for part in (Part(build.tree, build.environment), *build.parts.values()):
        yield f"{Kind.TREE}/{part.tree}"
        yield f"{Kind.ENVIRONMENT}/{part.environment}"


def _of_run(run: Run, builds: Iterable[Build]) -> Iterator[str]:
    """Whatever its parameters name: builds, and of a build run the trees and environments that it is about to make."""
    words = set(_words(run.params))
    for word in words:
        yield f"{Kind.TREE}/{word}"
        yield f"{Kind.ENVIRONMENT}/{word}"
        for kind in (Kind.BACKUP, Kind.MODEL):
            _, found, rest = word.partition(f"/{kind}/")
            if found:
                yield f"{kind}/{rest}"
    for build in builds:
        if build.project == run.project and not words.isdisjoint((build.id, build.digest)):
            yield from _of_build(build)


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _words(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)


def _add(reasons: dict[str, str], paths: Iterable[str], why: str) -> None:
    for path in paths:
        reasons.setdefault(path, why)


def _newest_backups(items: Iterable[Item]) -> frozenset[str]:
    """The last backup of every environment stays, however old."""
    newest: dict[str, Item] = {}
    for item in items:
        if item.kind is Kind.BACKUP:
            place = item.name.rpartition("/")[0]
            if place not in newest or item.modified > newest[place].modified:
                newest[place] = item
    return frozenset(item.path for item in newest.values())


def _verdict(item: Item, needs: Needs, newest: frozenset[str], policy: Policy, now: datetime) -> Verdict:
    if reason := needs.reasons.get(item.path):
        return Verdict(item, True, reason)
    if item.kind in (Kind.LOG, Kind.WORK) and item.name in needs.runs:
        return Verdict(item, True, f"run {item.name} is open")
    if item.kind is Kind.PROCESS_LOG and item.name.partition(".log")[0] in needs.processes:
        return Verdict(item, True, "its process runs")
    age = now - item.modified
    if age < policy.grace:
        return Verdict(item, True, f"it is younger than the grace time of {policy.grace}")
    if item.kind is Kind.BACKUP:
        return _backup(item, needs, newest, policy, age)
    if item.kind is Kind.PROCESS_LOG:
        return Verdict(item, age < policy.logs, f"its process is gone; logs stay for {policy.logs.days} days")
    if item.kind is Kind.LOG:
        reason = f"its run ended {age.days} days ago; logs stay for {policy.logs.days} days"
        return Verdict(item, age < policy.logs, reason)
    return Verdict(item, False, _GONE[item.kind])


def _backup(item: Item, needs: Needs, newest: frozenset[str], policy: Policy, age: timedelta) -> Verdict:
    environment, _, name = item.name.rpartition("/")
    if item.path in newest:
        return Verdict(item, True, f"the newest backup of {environment}")
    match = _BACKUP.match(name)
    if match is None:
        return Verdict(item, age < policy.logs, f"no release is named by it; it is {age.days} days old")
    number, oldest = int(match[1]), needs.oldest.get(environment)
    if oldest is not None and number > oldest:
        return Verdict(item, True, f"a rollback of {environment} to release {oldest} may need it")
    return Verdict(item, False, f"no release before {number} can come back in {environment}")


_GONE = {
    Kind.TREE: "no release that can come back is made of it",
    Kind.ENVIRONMENT: "no release that can come back runs in it",
    Kind.MODEL: "no release that can come back serves it; its artifact is kept as an object",
    Kind.WORK: "its run has ended",
}
