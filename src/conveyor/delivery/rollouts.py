"""The controller of rollouts: observes processes and proxy, moves rollouts on, and makes the world follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import isnan

from conveyor.delivery import aliases
from conveyor.delivery.lookup import live_release
from conveyor.delivery.rejection import reject
from conveyor.delivery.targets import Target, targets
from conveyor.delivery.world import Observed, Wanted, World
from conveyor.domain import rollout as machine
from conveyor.domain.release import Environment, Release
from conveyor.domain.rollout import Counts, Phase, Plan, Rollout, Seen, TargetSeen
from conveyor.domain.routing import ClusterStats
from conveyor.domain.run import RunState
from conveyor.engine.context import Context
from conveyor.stores.collections import ENVIRONMENTS, PROJECTS, RELEASES, ROLLOUTS, RUNS
from conveyor.stores.records import Transaction

_BUSY, _IDLE = 0.1, 1.0
_CONVERGE_EVERY = timedelta(seconds=5)
"""How soon a difference between wish and world is mended when nothing else happens."""
_GRACE = timedelta(seconds=2)  # a process may fail once right after its start


class Rollouts:
    name = "rollouts"

    def __init__(self, context: Context, world: World) -> None:
        self._context = context
        self._world = world
        self._settled = False
        self._quiet_at = -1  # the records' revision when nothing was open
        self._converged_at = context.clock.now() - _CONVERGE_EVERY

    def turn(self) -> float:
        revision = self._context.records.revision
        rollouts = self._open() if revision != self._quiet_at else []
        if rollouts:
            self._advance_all(rollouts)
        now = self._context.clock.now()
        if rollouts or not self._settled or now - self._converged_at >= _CONVERGE_EVERY:
            self._settled = self._world.converge(self._wanted())
            self._converged_at = now
        self._quiet_at = -1 if rollouts else revision
        return _BUSY if rollouts or not self._settled else _IDLE

    def _open(self) -> list[Rollout]:
        with self._context.records.read() as tx:
            return tx.find(ROLLOUTS, where={"state": "open"}, limit=1000, newest=False)

    def _advance_all(self, rollouts: list[Rollout]) -> None:
        parts = [(rollout, *self._sides(rollout)) for rollout in rollouts]
        clusters = {t.cluster for _, old, new in parts for t in (*old.values(), *new.values())}
        observed = self._world.observe(clusters)
        for rollout, old, new in parts:
            changed = {name: target for name, target in new.items() if _cluster(old.get(name)) != target.cluster}
            plan = machine.plan({name: target.rollout for name, target in changed.items()})
            seen = self._seen(rollout, old, changed, observed)
            moved = machine.decide(rollout, plan, seen, self._context.clock.now())
            if moved != rollout:
                self._persist(rollout, moved, plan, changed)

    def _seen(self, rollout: Rollout, old: dict[str, Target], changed: dict[str, Target], observed: Observed) -> Seen:
        early = self._context.clock.now() - rollout.entered < _GRACE
        found = {}
        for name, target in changed.items():
            health = observed.clusters.get(target.cluster)
            before = old.get(name)
            found[name] = TargetSeen(
                wanted=target.replicas,
                healthy=health.healthy if health else 0,
                crashed="" if early else self._world.crashed(target, observed),
                new=_counts(observed.stats.get(target.cluster)),
                old=_counts(observed.stats.get(before.cluster)) if before else Counts(),
            )
        return Seen(found, self._migration(rollout), self._world.follows(observed))

    def _migration(self, rollout: Rollout) -> str:
        if not rollout.migration:
            return "none"
        with self._context.records.read() as tx:
            run = tx.need(RUNS, rollout.migration)
        return {
            RunState.RUNNING: "running",
            RunState.SUCCEEDED: "succeeded",
        }.get(run.state, f"failed: {run.error}")

    def _persist(self, before: Rollout, rollout: Rollout, plan: Plan, changed: dict[str, Target]) -> None:
        context = self._context
        with context.transaction() as tx:
            asked = tx.need(ROLLOUTS, rollout.id).abort
            if asked and not before.abort and not rollout.abort:
                rollout = replace(rollout, abort=asked)
            environment = tx.need(ENVIRONMENTS, rollout.environment)
            release = tx.need(RELEASES, rollout.id)
            if rollout.phase is not before.phase:
                environment = self._entered(tx, environment, release, before, rollout, changed)
            tx.put(ROLLOUTS, rollout)
            tx.put(ENVIRONMENTS, environment)
            percent = machine.split(rollout, plan)
            tx.append(
                self._event(
                    "rollout.advanced",
                    environment,
                    release=release.number,
                    phase=rollout.phase,
                    percent=percent,
                    note=rollout.note,
                    seconds=round((context.clock.now() - rollout.created).total_seconds(), 3),
                )
            )

    def _entered(
        self,
        tx: Transaction,
        environment: Environment,
        release: Release,
        before: Rollout,
        rollout: Rollout,
        changed: dict[str, Target],
    ) -> Environment:
        """What follows from entering a phase: who is live, what is rejected, which events tell it."""
        if rollout.phase is Phase.LIVE:
            aliases.follow(self._context, tx, environment, release, f"release {release.number}")
            return replace(environment, live=release.number)
        if rollout.phase is Phase.ABORTING:
            guilty = [changed[rollout.culprit]] if rollout.culprit in changed else list(changed.values())
            components = {target.component for target in guilty}
            environment = reject(self._context, tx, environment, components, rollout.abort)
            tx.append(
                self._event(
                    "rollout.aborted",
                    environment,
                    release=release.number,
                    reason=rollout.abort,
                    target=rollout.culprit,
                    phase=before.phase,
                )
            )
            if environment.live == release.number:
                previous = tx.get(RELEASES, f"{environment.id}/{rollout.previous}")
                aliases.follow(self._context, tx, environment, previous, f"release {release.number} was aborted")
                environment = replace(environment, live=rollout.previous)
            return environment
        if rollout.phase is Phase.ROLLED_BACK:
            tx.append(
                self._event(
                    "rollout.rolled_back",
                    environment,
                    release=release.number,
                    back_to=rollout.previous,
                    reason=rollout.abort,
                )
            )
            return replace(environment, rollout=None)
        if rollout.phase is Phase.DONE:
            tx.append(self._event("rollout.completed", environment, release=release.number, reason=release.reason))
            return replace(environment, rollout=None)
        return environment

    def _sides(self, rollout: Rollout) -> tuple[dict[str, Target], dict[str, Target]]:
        settings = self._context.settings
        with self._context.records.read() as tx:
            old = tx.get(RELEASES, f"{rollout.environment}/{rollout.previous}") if rollout.previous else None
            new = tx.need(RELEASES, rollout.id)
            return targets(tx, settings, old), targets(tx, settings, new)

    def _wanted(self) -> list[Wanted]:
        """Every environment's wish, from its live release or its open rollout."""
        with self._context.records.read() as tx:
            projects = tx.find(PROJECTS, limit=1000, newest=False)
            found = []
            for place, project in enumerate(projects):
                for environment in tx.find(ENVIRONMENTS, where={"project": project.name}, limit=100, newest=False):
                    found.append(self._wish(tx, environment, first=place == 0))
        return found

    def _wish(self, tx: Transaction, environment: Environment, *, first: bool) -> Wanted:
        named = f"{environment.name}.{environment.project}.localhost"
        hosts = ("*", named) if first and environment.name == "production" else (named,)
        settings = self._context.settings
        rollout = tx.get(ROLLOUTS, environment.rollout) if environment.rollout else None
        if rollout is None:
            live = targets(tx, settings, live_release(tx, environment))
            return Wanted(environment.id, live, live, 100, hosts)
        old, new = self._sides(rollout)
        changed = {name: target.rollout for name, target in new.items() if _cluster(old.get(name)) != target.cluster}
        keep_old, start_new = machine.running(rollout)
        percent = machine.split(rollout, machine.plan(changed))
        return Wanted(environment.id, old if keep_old else {}, new if start_new else {}, percent, hosts)

    def _event(self, type_: str, environment: Environment, **data: object):  # type: ignore[no-untyped-def]
        return self._context.event(type_, f"environment/{environment.id}", environment.project, **data)


def _cluster(target: Target | None) -> str:
    return target.cluster if target else ""


def _counts(stats: ClusterStats | None) -> Counts:
    if stats is None:
        return Counts()
    return Counts(stats.requests, stats.errors_5xx, None if isnan(stats.p99_ms) else stats.p99_ms)
