"""The controller of releases: composes the next one of an environment from what is built and trained."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery import migrate
from conveyor.delivery.lookup import latest_build, live_release
from conveyor.domain.model import ModelStatus
from conveyor.domain.release import Composition, Environment, Release, compose
from conveyor.domain.rollout import Rollout
from conveyor.domain.state import Project
from conveyor.engine.context import Context
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, MODEL_VERSIONS, PROJECTS, RELEASES, ROLLOUTS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 0.1


class Releases:
    name = "releases"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen = -1  # the records' revision at the last look

    def turn(self) -> float:
        revision = self._context.records.revision
        if revision == self._seen:
            return _EVERY
        self._seen = revision
        self._compose_all()
        return _EVERY

    def _compose_all(self) -> bool:
        with self._context.records.read() as tx:
            projects = tx.find(PROJECTS, limit=1000)
            compositions = [pair for project in projects for pair in self._compositions(tx, project)]
        changed = False
        for environment, composition in compositions:
            changed |= self._release(environment, composition)
        return changed

    def _compositions(self, tx: Transaction, project: Project) -> list[tuple[Environment, Composition]]:
        newest = latest_build(tx, project.name)
        if newest is None:
            return []
        found = []
        builds = tuple(tx.find(BUILDS, where={"project": project.name}, limit=20))
        names = {name for build in builds[:1] for name in build.config.models}
        models = {
            name: tuple(
                tx.find(
                    MODEL_VERSIONS, where={"model": f"{project.name}/{name}", "status": ModelStatus.READY}, limit=20
                )
            )
            for name in names
        }
        for config in newest.config.environments.values():
            environment = tx.get(ENVIRONMENTS, f"{project.name}/{config.name}") or Environment(
                project.name, config.name
            )
            if environment.rollout is None:
                composition = compose(environment, live_release(tx, environment), builds, models)
                found.append((environment, composition))
        return found

    def _release(self, environment: Environment, composition: Composition) -> bool:
        """Creates the next release and opens its rollout; says what is missing when there cannot be one yet."""
        context = self._context
        if composition.build is None:
            if composition.waiting != environment.waiting:
                with context.transaction() as tx:
                    tx.put(ENVIRONMENTS, replace(environment, waiting=composition.waiting))
                    if composition.waiting:
                        tx.append(self._event("release.waiting", environment, waiting_for=composition.waiting))
            return False
        now = context.clock.now()
        number = environment.releases + 1
        build = composition.build
        release = Release(
            environment.project,
            environment.name,
            number,
            build.digest,
            build.commit,
            composition.models,
            composition.reason,
            now,
        )
        with context.transaction() as tx:
            quick = any(
                earlier.build == release.build and earlier.models == release.models
                for earlier in tx.find(RELEASES, where={"environment": environment.id}, limit=20)
            )
            same_code = (live := live_release(tx, environment)) is not None and live.build == release.build
            migration = None if quick or same_code else migrate.new_run(context.new_id(), release, build, now)
            rollout = Rollout(
                f"{release.id}",
                environment.id,
                number,
                environment.live,
                now,
                now,
                quick=quick,
                migration=migration.id if migration else "",
            )
            if migration is not None:
                tx.put(RUNS, migration)
            tx.put(RELEASES, release)
            tx.put(ROLLOUTS, rollout)
            tx.put(ENVIRONMENTS, replace(environment, releases=number, rollout=rollout.id, waiting=""))
            tx.append(
                self._event(
                    "release.created",
                    environment,
                    release=number,
                    reason=release.reason,
                    commit=release.commit,
                    models=release.models,
                )
            )
        return True

    def _event(self, type_: str, environment: Environment, **data: object):  # type: ignore[no-untyped-def]
        return self._context.event(type_, f"environment/{environment.id}", environment.project, **data)
