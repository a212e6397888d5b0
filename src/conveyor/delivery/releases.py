"""The controller of releases: composes the next one of an environment from what is meant for it and what is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from conveyor.delivery import migrate, preview_setup, promotion, rollback, secrets, verification
from conveyor.delivery.lookup import latest_build, live_release
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.project import EnvironmentConfig
from conveyor.domain.registry import barred
from conveyor.domain.release import Build, Composition, Environment, Proposal, Release, compose, declared
from conveyor.domain.rollout import Phase, Rollout
from conveyor.domain.state import Project
from conveyor.engine.context import Context
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, MODEL_VERSIONS, PROJECTS, RELEASES, ROLLOUTS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 0.1
_MOST_PREVIEWS = 1000


@dataclass(frozen=True, slots=True)
class Next:
    """What an environment would get, as it was read; `config` is None for a preview."""

    environment: Environment
    config: EnvironmentConfig | None
    composition: Composition
    set_up: Build | None = None  # a preview whose databases must be made first

    @property
    def free(self) -> bool:
        """Whether it may be released without a person's word."""
        composition = self.composition
        approve = self.config is not None and self.config.approve
        return not approve or composition.approved or composition.key == self.environment.approved


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
        self._hurry()
        return _EVERY

    def _compose_all(self) -> None:
        with self._context.records.read() as tx:
            found = [each for project in tx.find(PROJECTS, limit=1000) for each in self._project(tx, project)]
        for following in found:
            self._follow(following)

    def _project(self, tx: Transaction, project: Project) -> list[Next]:
        ruling = latest_build(tx, project.name)
        if ruling is None:
            return []
        records = {
            each.name: each for each in tx.find(ENVIRONMENTS, where={"project": project.name}, limit=_MOST_PREVIEWS)
        }
        models: dict[str, tuple[ModelVersion, ...]] = {}
        found = []
        for config in ruling.config.environments.values():
            environment = records.get(config.name) or Environment(project.name, config.name)
            found.append(self._compose(tx, environment, config, models))
        for environment in records.values():
            if environment.branch:
                found.append(self._compose(tx, environment, None, models))
        return [each for each in found if each is not None]

    def _compose(
        self,
        tx: Transaction,
        environment: Environment,
        config: EnvironmentConfig | None,
        models: dict[str, tuple[ModelVersion, ...]],
    ) -> Next | None:
        """None while something is being rolled out. `models` are those read already, for the next environment."""
        if environment.rollout is not None or environment.ending or rollback.busy(tx, environment.id):
            return None
        live = live_release(tx, environment)
        builds = _builds(tx, environment, live)
        for name in {name for build in builds for name in build.config.models} - set(models):
            where = {"model": f"{environment.project}/{name}", "status": ModelStatus.READY}
            found = tx.find(MODEL_VERSIONS, where=where, limit=20)
            models[name] = tuple(version for version in found if not barred(version))
        damaged = promotion.damaged(tx, live)
        names = {name for build in builds for name in declared(build.config)}
        offered = secrets.choices(tx, environment.project, environment.name, names)
        composition = compose(environment, live, builds, models, offered, frozenset(damaged))
        if why := promotion.refusal(tx, environment, live, composition.models):
            composition = Composition(waiting=why)
        if not builds and not environment.builds:
            composition = Composition(waiting=_nothing(config))
        if config is None and composition.build is not None:
            setup = preview_setup.setup(tx, environment, composition.build)
            if setup.waiting:
                start = composition.build if setup.start else None
                return Next(environment, config, Composition(waiting=setup.waiting), start)
        return Next(environment, config, composition)

    def _hurry(self) -> None:
        """A release that has all traffic is watched no longer once a newer push is ready to be released."""
        with self._context.records.read() as tx:
            open_ = tx.find(ROLLOUTS, where={"state": "open"}, limit=1000)
            ready = [(each.id, build) for each in open_ if (build := self._successor(tx, each)) is not None]
        for id_, build in ready:
            with self._context.transaction() as tx:
                rollout = tx.need(ROLLOUTS, id_)
                if rollout.phase is Phase.LIVE:
                    tx.put(ROLLOUTS, replace(rollout, successor=build.commit))

    def _successor(self, tx: Transaction, rollout: Rollout) -> Build | None:
        """The build that would be released next, and without a person's word, if this rollout were over."""
        if rollout.phase is not Phase.LIVE or rollout.successor:
            return None
        environment, release = tx.need(ENVIRONMENTS, rollout.environment), tx.need(RELEASES, rollout.id)
        if not environment.builds or environment.builds[0] == release.build:
            return None
        ruling = latest_build(tx, environment.project)
        config = ruling.config.environments.get(environment.name) if ruling else None
        following = self._compose(tx, replace(environment, rollout=None, live=release.number), config, {})
        build = following.composition.build if following is not None and following.free else None
        return build if build is not None and build.digest != release.build else None

    def _follow(self, following: Next) -> None:
        """One decision, written in one transaction; what changed meanwhile is looked at again."""
        environment, composition = following.environment, following.composition
        if self._idle(following):
            return
        project, models = environment.project, composition.models
        if following.free and composition.build is not None:
            with self._context.records.read() as tx:
                live = live_release(tx, environment)
            if not verification.before_release(self._context, project, models, live):
                return  # it is composed anew, without what is damaged
        with self._context.transaction() as tx:
            current = tx.get(ENVIRONMENTS, environment.id) or Environment(environment.project, environment.name)
            if current != environment:
                return
            build = composition.build
            if following.set_up is not None:
                environment = preview_setup.start(self._context, tx, environment, following.set_up)
            if build is None:
                self._wait(tx, environment, composition.waiting)
            elif not following.free:
                self._propose(tx, environment, composition)
            else:
                self._release(tx, environment, composition, build)

    def _idle(self, following: Next) -> bool:
        """Nothing to write: as it was, so that an idle turn costs no transaction."""
        environment, composition = following.environment, following.composition
        if composition.build is None:
            same = composition.waiting == environment.waiting and environment.proposal is None
            return same and following.set_up is None
        return not following.free and environment.proposal is not None and environment.proposal.key == composition.key

    def _wait(self, tx: Transaction, environment: Environment, waiting: str) -> None:
        """Says what is missing, once; a proposal whose content is not what would come next any more is over."""
        told = environment.waiting
        tx.put(ENVIRONMENTS, replace(environment, waiting=waiting, proposal=None))
        if waiting and waiting != told:
            tx.append(self._event("release.waiting", environment, waiting_for=waiting))

    def _propose(self, tx: Transaction, environment: Environment, composition: Composition) -> None:
        now, build = self._context.clock.now(), composition.build
        assert build is not None
        proposal = Proposal(composition.key, composition.reason, build.commit, composition.components, now)
        older = environment.proposal.text if environment.proposal else ""
        tx.put(ENVIRONMENTS, replace(environment, proposal=proposal, waiting=""))
        event = self._event(
            "release.proposed",
            environment,
            reason=composition.reason + (f", instead of {older}" if older else ""),
            commit=build.commit,
            models=composition.models,
        )
        tx.append(event)

    def _release(self, tx: Transaction, environment: Environment, composition: Composition, build: Build) -> None:
        """Creates the next release and opens its rollout."""
        now = self._context.clock.now()
        number = environment.releases + 1
        release = Release(
            environment.project,
            environment.name,
            number,
            build.digest,
            build.commit,
            composition.models,
            composition.reason,
            now,
            composition.secrets,
        )
        again = any(
            earlier.components == release.components
            for earlier in tx.find(RELEASES, where={"environment": environment.id}, limit=20)
        )
        migration = self._migration(tx, environment, release, now, again=again)
        quick = again or bool(environment.branch)
        rollout = Rollout(
            release.id,
            environment.id,
            number,
            environment.live,
            now,
            now,
            quick=quick,
            migration=migration,
        )
        tx.put(RELEASES, release)
        tx.put(ROLLOUTS, rollout)
        tx.put(
            ENVIRONMENTS,
            replace(environment, releases=number, rollout=rollout.id, waiting="", exact=None, proposal=None),
        )
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

    def _migration(
        self, tx: Transaction, environment: Environment, release: Release, now: datetime, *, again: bool
    ) -> str:
        """The run that migrates for the release; its id, empty where there is nothing to migrate."""
        run = migrate.new_run(self._context.new_id(), tx, release, live_release(tx, environment), now, again=again)
        if run is None:
            return ""
        tx.put(RUNS, run)
        return run.id

    def _event(self, type_: str, environment: Environment, **data: object):  # type: ignore[no-untyped-def]
        return self._context.event(type_, f"environment/{environment.id}", environment.project, **data)


def _builds(tx: Transaction, environment: Environment, live: Release | None) -> tuple[Build, ...]:
    """The builds that its next release may have: the newest that was not rejected, and the one asked for by a person.

    Read one by one: of twenty builds that are meant for it, one is nearly always enough.
    """
    # In records from before builds were meant for environments, what is live was.
    meant = environment.builds or ((live.build,) if live else ())
    digests = [digest for digest in meant if f"build:{digest}" not in environment.rejected]
    wished = [environment.exact.build] if environment.exact else []
    loaded = (tx.get(BUILDS, f"{environment.project}/{digest}") for digest in digests)
    newest = next((build for build in loaded if build is not None), None)
    exact = [tx.get(BUILDS, f"{environment.project}/{digest}") for digest in wished]
    return tuple(build for build in (newest, *exact) if build is not None)


def _nothing(config: EnvironmentConfig | None) -> str:
    if config is not None and config.source is not None:
        return f"nothing was promoted from {config.source} yet"
    return "no build has passed its tests"
