"""The controller of rollouts: observes processes and proxy, moves rollouts on, and makes the world follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from conveyor.delivery import aliases, shadows
from conveyor.delivery.lookup import live_release
from conveyor.delivery.receipts import Receipts
from conveyor.delivery.rejection import reject
from conveyor.delivery.targets import Target, targets
from conveyor.delivery.world import Observed, Wanted, World
from conveyor.domain import rollout as machine
from conveyor.domain.canary import Counts
from conveyor.domain.environment import hosts as hosts_of
from conveyor.domain.events import Event
from conveyor.domain.project import Shadow
from conveyor.domain.release import Environment, Release
from conveyor.domain.rollout import Phase, Plan, Rollout, Seen, TargetSeen
from conveyor.domain.routing import ClusterStats
from conveyor.domain.run import RunState
from conveyor.domain.shadow import Shadowed
from conveyor.engine.context import Context
from conveyor.stores.collections import ENVIRONMENTS, PROJECTS, RELEASES, ROLLOUTS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 0.1
_CONVERGE_EVERY = timedelta(seconds=4)
"""How soon a difference between wish and world is mended when nothing else happens: within 5 s, a turn included."""
_GRACE = timedelta(seconds=2)  # a process may fail once right after its start


class Rollouts:
    name = "rollouts"

    def __init__(self, context: Context, world: World) -> None:
        self._context = context
        self._world = world
        self._receipts = Receipts(context)
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
        return _EVERY

    def _open(self) -> list[Rollout]:
        with self._context.records.read() as tx:
            return tx.find(ROLLOUTS, where={"state": "open"}, limit=1000, newest=False)

    def _advance_all(self, rollouts: list[Rollout]) -> None:
        parts = [(rollout, *self._sides(rollout)) for rollout in rollouts]
        clusters = {t.cluster for _, old, new in parts for t in (*old.values(), *new.values())}
        observed = self._world.observe(clusters)
        for rollout, old, new in parts:
            changed = _changed(old, new)
            self._receipts.look(rollout, old, new, observed.proxy, applied=self._world.follows(observed))
            plan = planned(old, new)
            seen = self._seen(rollout, plan, old, new, observed)
            moved = machine.decide(rollout, plan, seen, self._context.clock.now())
            if moved != rollout:
                self._persist(rollout, moved, plan, changed, seen)

    def _seen(
        self, rollout: Rollout, plan: Plan, old: dict[str, Target], new: dict[str, Target], observed: Observed
    ) -> Seen:
        changed = _changed(old, new)
        concerned = {name: each for name, each in changed.items() if each.overlaps or machine.took_over(rollout)}
        found = {
            name: self._target(rollout, plan, target, old.get(name), observed) for name, target in concerned.items()
        }
        gone = [target.cluster for name, target in old.items() if name not in new]
        leaving = sum(observed.stats[cluster].active for cluster in gone if cluster in observed.stats)
        return Seen(found, self._migration(rollout), self._world.follows(observed), leaving)

    def _target(
        self, rollout: Rollout, plan: Plan, target: Target, before: Target | None, observed: Observed
    ) -> TargetSeen:
        now, world = self._context.clock.now(), self._world
        new, old = observed.stats.get(target.cluster), observed.stats.get(before.cluster) if before else None
        health, was = observed.clusters.get(target.cluster), observed.clusters.get(before.cluster) if before else None
        healthy = (health.healthy if health else 0) if target.prefix else world.up(target, observed)
        starting = rollout.phase is Phase.START
        late = starting and now - rollout.entered >= plan.start_timeout
        return TargetSeen(
            wanted=target.replicas,
            healthy=healthy,
            crashed=""
            if now - rollout.entered < _GRACE and starting
            else world.crashed(target, observed, rollout.started),
            deaf=world.deaf(target, observed) if late and target.prefix else "",
            memory=world.memory(target, observed),
            new=_counts(new),
            old=_counts(old),
            new_active=new.active if new else 0,
            old_active=old.active if old else 0,
            old_healthy=was.healthy if was else int(before is None or not target.prefix),
            routed=bool(target.prefix),
            shadow=self._shadow(rollout, target, before),
        )

    def _shadow(self, rollout: Rollout, target: Target, before: Target | None) -> Shadowed | None:
        if target.model is None or before is None or not target.rollout.shadow.requests:
            return None
        with self._context.records.read() as tx:
            return shadows.of(tx, rollout, target.name)

    def _migration(self, rollout: Rollout) -> str:
        if not rollout.migration:
            return "none"
        with self._context.records.read() as tx:
            run = tx.get(RUNS, rollout.migration)
        if run is None:
            return f"failed: run {rollout.migration} is gone"
        return {
            RunState.RUNNING: "running",
            RunState.SUCCEEDED: "succeeded",
        }.get(run.state, f"failed: {run.error}")

    def _persist(self, before: Rollout, rollout: Rollout, plan: Plan, changed: dict[str, Target], seen: Seen) -> None:
        context = self._context
        with context.transaction() as tx:
            asked = tx.need(ROLLOUTS, rollout.id)
            if asked.abort and not before.abort and not rollout.abort:
                rollout = replace(rollout, abort=asked.abort, culprit=asked.culprit)
            if (asked.paused, asked.pause_until) != (before.paused, before.pause_until):
                return  # a person paused or resumed it meanwhile; the next turn decides on that
            environment = tx.need(ENVIRONMENTS, rollout.environment)
            release = tx.need(RELEASES, rollout.id)
            if rollout.phase is not before.phase:
                environment = self._entered(tx, environment, release, before, rollout, changed)
            if before.phase is Phase.SHADOW is not rollout.phase:
                shadows.close(context, tx, before, rollout, plan, seen)
            tx.put(ROLLOUTS, rollout)
            tx.put(ENVIRONMENTS, environment)
            percent = machine.split(rollout, plan)
            self._receipts.record(tx, before, rollout, percent)
            if rollout.verdict and (rollout.phase, rollout.step) != (before.phase, before.step):
                tx.append(self._verdict(environment, before, rollout, plan))
            if not _told(before, rollout):
                return
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
            before_it = tx.get(RELEASES, f"{environment.id}/{rollout.previous}") if rollout.previous else None
            kept = set(before_it.components) if before_it else set()
            components = {name for target in guilty for name in target.components} - kept
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
                for environment in tx.find(ENVIRONMENTS, where={"project": project.name}, limit=1000, newest=False):
                    found.append(self._wish(tx, environment, first=place == 0))
        return found

    def _wish(self, tx: Transaction, environment: Environment, *, first: bool) -> Wanted:
        hosts = hosts_of(environment.project, environment.name, first=first)
        settings = self._context.settings
        rollout = tx.get(ROLLOUTS, environment.rollout) if environment.rollout else None
        if rollout is None:
            live = targets(tx, settings, live_release(tx, environment))
            return Wanted(environment.id, live, live, 100, hosts)
        old, new = self._sides(rollout)
        plan = planned(old, new)
        keep_old, start_new = machine.running(rollout)
        return Wanted(
            environment.id,
            old if keep_old else {},
            new if start_new else {},
            machine.split(rollout, plan),
            hosts,
            taken_over=machine.took_over(rollout),
            rollout=rollout.id,
            shadow=frozenset(plan.shadow) if rollout.phase is Phase.SHADOW else frozenset(),
        )

    def _verdict(self, environment: Environment, before: Rollout, rollout: Rollout, plan: Plan) -> Event:
        verdict, _, reason = rollout.verdict.partition(": ")
        percent = machine.split(before, plan)
        return self._event(
            "rollout.verdict", environment, release=rollout.release, percent=percent, verdict=verdict, reason=reason
        )

    def _event(self, type_: str, environment: Environment, **data: object) -> Event:
        return self._context.event(type_, f"environment/{environment.id}", environment.project, **data)


def _told(before: Rollout, rollout: Rollout) -> bool:
    """Whether people are to hear of this turn."""
    return any(getattr(before, name) != getattr(rollout, name) for name in ("phase", "step", "paused"))


def planned(old: dict[str, Target], new: dict[str, Target]) -> Plan:
    """What is new in a release has nobody's requests to get copies of: it is not waited for in the shadow."""
    alone = Shadow()
    return machine.plan(
        {
            name: target.rollout if name in old else replace(target.rollout, shadow=alone)
            for name, target in _changed(old, new).items()
        }
    )


def _changed(old: dict[str, Target], new: dict[str, Target]) -> dict[str, Target]:
    """The new release's targets whose content differs from the old one's."""
    return {name: target for name, target in new.items() if name not in old or old[name].cluster != target.cluster}


def _counts(stats: ClusterStats | None) -> Counts:
    if stats is None:
        return Counts()
    return Counts(stats.requests, stats.errors_5xx, stats.latencies, stats.checks_failed)
