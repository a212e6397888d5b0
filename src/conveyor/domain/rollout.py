"""The rollout: the state machine that moves an environment from one release to the next. Pure.

    prepare ─► start ─► shadow ─► canary (steps) ─► live ─► drain ─► done
       └─────────┴────────┴───────────┴───────────────┴─► aborting ─► rolled_back

`prepare` rehearses and runs migrations; `live` has all traffic on the new release while the old one is kept warm for
the watch window. `decide` is one turn; what must run and how traffic is split in a phase follows from `split` and
`running`, so that carrying it out is level-triggered: a crash anywhere is just a later observation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import sqrt

from conveyor.domain.project import Abort, RolloutConfig


class Phase(StrEnum):
    PREPARE = "prepare"
    START = "start"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    DRAIN = "drain"
    DONE = "done"
    ABORTING = "aborting"
    ROLLED_BACK = "rolled_back"


FEWEST_ERRORS = 3
"""A release is not given up for fewer 5xx than this: one may be chance, and what is rejected stays rejected."""

CLOSED = frozenset({Phase.DONE, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Rollout:
    id: str
    environment: str  # environment id
    release: int
    previous: int | None
    created: datetime
    entered: datetime  # when the phase, or the canary step, began
    phase: Phase = Phase.PREPARE
    step: int = 0
    quick: bool = False  # a rollback: no shadow, no canary
    abort: str = ""  # asked for by a person, or the reason once decided
    culprit: str = ""  # the target that failed, when one did
    note: str = ""
    migration: str = ""  # id of the run that rehearses and migrates
    base: dict[str, Counts] = field(default_factory=dict)  # counters when the step began, by target

    @property
    def state(self) -> str:
        return "closed" if self.phase in CLOSED else "open"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the proxy counted for a cluster."""

    requests: int = 0
    errors: int = 0
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """A changed target of the new release: its processes, and the proxy's counters of new and old."""

    wanted: int
    healthy: int
    crashed: str = ""  # what its process said when it could not be kept running
    new: Counts = Counts()
    old: Counts = Counts()


@dataclass(frozen=True, slots=True)
class Seen:
    targets: dict[str, TargetSeen]
    migration: str = "none"  # none | running | succeeded | failed: why
    routes_applied: bool = False  # the proxy follows the split of this phase


@dataclass(frozen=True, slots=True)
class Plan:
    """The union of the changed targets' wishes: every step any of them asks for, the longest hold."""

    steps: tuple[int, ...]
    hold: timedelta
    watch: timedelta
    drain: timedelta
    start_timeout: timedelta
    shadow: dict[str, int]
    aborts: dict[str, Abort]


def plan(configs: dict[str, RolloutConfig]) -> Plan:
    values = list(configs.values()) or [RolloutConfig(steps=(100,), hold=timedelta(0), watch=timedelta(0))]
    return Plan(
        steps=tuple(sorted({step for config in values for step in config.steps} | {100})),
        hold=max(config.hold for config in values),
        watch=max(config.watch for config in values),
        drain=max(config.drain for config in values),
        start_timeout=max(config.start_timeout for config in values),
        shadow={name: config.shadow.requests for name, config in configs.items() if config.shadow.requests},
        aborts={name: config.abort for name, config in configs.items()},
    )


def split(rollout: Rollout, plan: Plan) -> int:
    """Percent of the traffic of changed targets that goes to the new release."""
    if rollout.phase is Phase.CANARY:
        return plan.steps[rollout.step]
    return 100 if rollout.phase in (Phase.LIVE, Phase.DRAIN, Phase.DONE) else 0


def running(rollout: Rollout) -> tuple[bool, bool]:
    """Whether the processes of the (old, new) release must be running."""
    old = rollout.phase is not Phase.DONE
    new = rollout.phase not in (Phase.PREPARE, Phase.ROLLED_BACK)
    return old, new


def decide(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    """One turn. Abort always wins; every phase has a deadline or ends by itself."""
    if rollout.phase in CLOSED:
        return rollout
    if rollout.phase is Phase.ABORTING:
        settled = seen.routes_applied and now - rollout.entered >= plan.drain
        return _enter(rollout, Phase.ROLLED_BACK, now) if settled else rollout
    if rollout.abort:
        return _enter(rollout, Phase.ABORTING, now)
    if rollout.phase is Phase.DRAIN:
        return _enter(rollout, Phase.DONE, now) if now - rollout.entered >= plan.drain else rollout
    return _TURNS[rollout.phase](rollout, plan, seen, now)


def _prepare(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    if seen.migration.startswith("failed"):
        return _abort(rollout, f"migration {seen.migration}", now)
    return _enter(rollout, Phase.START, now) if seen.migration in ("none", "succeeded") else rollout


def _start(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    for name, target in seen.targets.items():
        if target.crashed:
            return _abort(rollout, f"{name} does not start: {target.crashed}", now, name)
    late = [name for name, target in seen.targets.items() if target.healthy < target.wanted]
    if not late:
        if rollout.quick or rollout.previous is None:
            return _enter(rollout, Phase.LIVE, now, base=_counters(seen))
        return _enter(rollout, Phase.SHADOW if plan.shadow else Phase.CANARY, now, base=_counters(seen))
    if now - rollout.entered >= plan.start_timeout:
        seconds = plan.start_timeout.total_seconds()
        return _abort(rollout, f"{late[0]} did not become healthy within {seconds:g} s", now, late[0])
    return rollout


def _shadow(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    """Mirrored traffic only: no answer of the new release reaches anybody yet."""
    fault = _fault(rollout, plan, seen)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    enough = all(_since(rollout, seen, name).requests >= wanted for name, wanted in plan.shadow.items())
    if enough or now - rollout.entered >= max(plan.hold * 10, timedelta(seconds=30)):
        note = "" if enough else "insufficient evidence: too little traffic to shadow"
        return replace(_enter(rollout, Phase.CANARY, now, base=_counters(seen)), note=note)
    return rollout


def _canary(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = _fault(rollout, plan, seen)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    held = now - rollout.entered
    if held < plan.hold or not seen.routes_applied:
        return rollout
    few = [name for name in plan.aborts if _since(rollout, seen, name).requests < plan.aborts[name].min_requests]
    if few and held < plan.hold * 5:
        return rollout
    note = f"insufficient evidence: {few[0]} saw too few requests at {plan.steps[rollout.step]} %" if few else ""
    following = rollout.step + 1
    if following >= len(plan.steps) or plan.steps[following] >= 100:
        return replace(_enter(rollout, Phase.LIVE, now, base=_counters(seen)), note=note)
    return replace(rollout, step=following, entered=now, base=_counters(seen), note=note)


def _live(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = _fault(rollout, plan, seen)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    if now - rollout.entered >= plan.watch and seen.routes_applied:
        return _enter(rollout, Phase.DRAIN, now)
    return rollout


_TURNS = {
    Phase.PREPARE: _prepare,
    Phase.START: _start,
    Phase.SHADOW: _shadow,
    Phase.CANARY: _canary,
    Phase.LIVE: _live,
}


def _fault(rollout: Rollout, plan: Plan, seen: Seen) -> tuple[str, str] | None:
    """The target that crossed a bound, and how: `(target, reason)`."""
    for name, target in seen.targets.items():
        if target.healthy == 0:
            return name, f"{name} stopped answering its health check. {target.crashed}".rstrip()
        bound = plan.aborts.get(name)
        if bound is None:
            continue
        count = _since(rollout, seen, name)
        live = target.old.errors / target.old.requests if target.old.requests else 0.0
        low = wilson_lower(count.errors, count.requests)
        if count.errors >= FEWEST_ERRORS and low > max(bound.error_rate, live):
            return (
                name,
                f"{name} answered {count.errors} of {count.requests} requests with 5xx (bound {bound.error_rate:.1%})",
            )
        slow = bound.latency_p99_ms
        if slow is not None and count.p99_ms is not None and count.requests >= 200 and count.p99_ms > slow:
            return name, f"{name} has a p99 of {count.p99_ms:.0f} ms over {count.requests} requests (bound {slow:g} ms)"
    return None


def wilson_lower(errors: int, requests: int, z: float = 1.96) -> float:
    """Lower bound of the Wilson score interval of a proportion (Wilson 1927): what the error rate is at least."""
    if requests == 0 or errors == 0:  # exactly: rounding must not cross a bound of zero
        return 0.0
    p = errors / requests
    centre = p + z * z / (2 * requests)
    spread = z * sqrt(p * (1 - p) / requests + z * z / (4 * requests * requests))
    return max(0.0, (centre - spread) / (1 + z * z / requests))


def _since(rollout: Rollout, seen: Seen, name: str) -> Counts:
    base = rollout.base.get(name, Counts())
    target = seen.targets.get(name)
    if target is None:
        return Counts()
    return Counts(target.new.requests - base.requests, target.new.errors - base.errors, target.new.p99_ms)


def _counters(seen: Seen) -> dict[str, Counts]:
    return {name: target.new for name, target in seen.targets.items()}


def _enter(rollout: Rollout, phase: Phase, now: datetime, base: dict[str, Counts] | None = None) -> Rollout:
    return replace(rollout, phase=phase, step=0, entered=now, note="", base=rollout.base if base is None else base)


def _abort(rollout: Rollout, reason: str, now: datetime, culprit: str = "") -> Rollout:
    return replace(_enter(rollout, Phase.ABORTING, now), abort=reason, culprit=culprit)
