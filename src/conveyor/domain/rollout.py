"""The rollout: the state machine that moves an environment from one release to the next. Pure.

    prepare ─► start ─► shadow ─► canary (steps) ─► live ─► drain ─► done
       └─────────┴────────┴───────────┴───────────────┴─► aborting ─► rolled back

`prepare` rehearses and runs migrations; `live` has all traffic on the new release while the old one is kept warm for
the watch window. `decide` is one turn; what must run and how traffic is split in a phase follows from `split` and
`running`, so that carrying it out is level-triggered: a crash anywhere is just a later observation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from conveyor.domain.analysis import Verdict
from conveyor.domain.canary import Counts, better, fine, slow, worse
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
    base: dict[str, Counts] = field(default_factory=dict)  # the new release's counters when the step began, by target
    live: dict[str, Counts] = field(default_factory=dict)  # the previous release's
    verdict: str = ""  # of the step that ended last
    started: datetime | None = None  # when all processes of the new release had become healthy
    warm: bool = False  # its first requests, which fill caches and pools, are behind it, and out of `base`
    slow: datetime | None = None  # since when its answers look slower than they may
    paused: datetime | None = None  # since when a person holds it where it is
    pause_until: datetime | None = None
    successor: str = ""  # the commit of a newer push that is ready to be released: it need not wait out the watch

    @property
    def state(self) -> str:
        return "closed" if self.phase in CLOSED else "open"


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """A changed target of the new release: its processes, and the proxy's counters of new and old."""

    wanted: int
    healthy: int
    crashed: str = ""  # why its process ended, or could not be kept running
    deaf: str = ""  # why it does not become healthy, where that can be seen
    memory: str = ""  # what it uses, once that is more than it may
    new: Counts = field(default_factory=Counts)
    old: Counts = field(default_factory=Counts)
    new_active: int = 0  # requests and streams in flight
    old_active: int = 0
    old_healthy: int = 1
    routed: bool = True  # a worker gets no traffic


@dataclass(frozen=True, slots=True)
class Seen:
    targets: dict[str, TargetSeen]
    migration: str = "none"  # none | running | succeeded | failed: why
    routes_applied: bool = False  # the proxy follows the split of this phase
    leaving: int = 0  # requests and streams in flight on targets that the new release has no more


@dataclass(frozen=True, slots=True)
class Plan:
    """The union of the changed targets' wishes: every step any of them asks for, the longest hold."""

    steps: tuple[int, ...]
    hold: timedelta
    watch: timedelta
    drain: timedelta
    deadline: timedelta
    start_timeout: timedelta
    shadow: dict[str, int]
    aborts: dict[str, Abort]
    insufficient: str = "promote"

    @property
    def looks(self) -> int:
        """How many tests one target goes through: one a canary step, one in the watch window."""
        return len(self.steps)


def plan(configs: dict[str, RolloutConfig]) -> Plan:
    values = list(configs.values()) or [RolloutConfig(steps=(100,), hold=timedelta(0), watch=timedelta(0))]
    return Plan(
        steps=tuple(sorted({step for config in values for step in config.steps} | {100})),
        hold=max(config.hold for config in values),
        watch=max(config.watch for config in values),
        drain=max(config.drain for config in values),
        deadline=max(config.hold * 5 if config.deadline is None else config.deadline for config in values),
        start_timeout=max(config.start_timeout for config in values),
        shadow={name: config.shadow.requests for name, config in configs.items() if config.shadow.requests},
        aborts={name: config.abort for name, config in configs.items()},
        insufficient="abort" if any(config.insufficient == "abort" for config in values) else "promote",
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


def took_over(rollout: Rollout) -> bool:
    """Whether the new release is the one in charge: of two workers that must not overlap, its one runs."""
    return rollout.phase in (Phase.LIVE, Phase.DRAIN, Phase.DONE)


def pause(rollout: Rollout, now: datetime, length: timedelta) -> Rollout:
    """Holds it where it is, for at most `length`; faults and aborts are acted upon all the same."""
    return replace(rollout, paused=rollout.paused or now, pause_until=now + length)


def resume(rollout: Rollout, now: datetime) -> Rollout:
    """Goes on; the time of the pause does not count for holds and deadlines."""
    if rollout.paused is None:
        return rollout
    return replace(rollout, paused=None, pause_until=None, entered=rollout.entered + (now - rollout.paused))


def decide(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    """One turn. Abort always wins; every phase has a deadline or ends by itself."""
    if rollout.phase in CLOSED:
        return rollout
    if rollout.phase is Phase.ABORTING:
        leaving = sum(target.new_active for target in seen.targets.values())
        return _enter(rollout, Phase.ROLLED_BACK, now) if _drained(rollout, plan, seen, leaving, now) else rollout
    if rollout.abort:
        return _enter(rollout, Phase.ABORTING, now)
    if rollout.phase is Phase.DRAIN:
        leaving = seen.leaving + sum(target.old_active for target in seen.targets.values())
        return _enter(rollout, Phase.DONE, now) if _drained(rollout, plan, seen, leaving, now) else rollout
    if rollout.pause_until is not None and now < rollout.pause_until:
        return _paused(rollout, plan, seen, now)
    longest = max(plan.deadline, plan.watch, plan.hold * 10)
    if rollout.phase in _WATCHED and not seen.routes_applied and now - rollout.entered >= longest + DEAF:
        return _abort(rollout, "the proxy did not follow its routes", now)
    return _TURNS[rollout.phase](_slowed(_warmed(resume(rollout, now), seen, now), plan, seen, now), plan, seen, now)


DEAF = timedelta(minutes=10)
"""How long a proxy that answers but does not take its routes may hold up a phase, beyond the phase's own time."""


def _warmed(rollout: Rollout, seen: Seen, now: datetime) -> Rollout:
    """Once the new version has had traffic for a while, its times until then are taken out of what it is judged by."""
    if rollout.warm or rollout.started is None or now - rollout.started < _WARM:
        return rollout
    base = {
        name: replace(rollout.base.get(name, Counts()), times=target.new.times) for name, target in seen.targets.items()
    }
    return replace(rollout, warm=True, base=base)


def _slowed(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    """Since when the new version looks slow. Until it is warm its times are not held against it."""
    watched = rollout.warm and rollout.phase in _WATCHED
    late = watched and any(_slow(rollout, plan, seen, name) for name in seen.targets)
    return replace(rollout, slow=(rollout.slow or now) if late else None)


def _drained(rollout: Rollout, plan: Plan, seen: Seen, leaving: int, now: datetime) -> bool:
    """What has no traffic any more may be stopped: nothing is in flight on it, or its time to drain is over."""
    waited = now - rollout.entered
    if waited >= plan.drain + DEAF:
        return True  # whatever the proxy does: no environment is held up for ever
    return seen.routes_applied and ((leaving == 0 and waited >= min(plan.drain, _SETTLE)) or waited >= plan.drain)


def _paused(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    failed = seen.migration if seen.migration.startswith("failed") else ""
    if rollout.phase is Phase.PREPARE and failed:
        return _abort(rollout, f"migration {failed}", now, _code(seen))
    rollout = _slowed(rollout, plan, seen, now)
    fault = _fault(rollout, plan, seen, now) if rollout.phase in _WATCHED else None
    return _abort(rollout, fault[1], now, fault[0]) if fault else rollout


def _prepare(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    if seen.migration.startswith("failed"):
        return _abort(rollout, f"migration {seen.migration}", now, _code(seen))
    return _enter(rollout, Phase.START, now) if seen.migration in ("none", "succeeded") else rollout


def _code(seen: Seen) -> str:
    """A target made from the build: a migration that fails is the code's fault, never that of a model beside it."""
    return next((name for name in seen.targets if not name.startswith("model.")), "")


def _start(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    for name, target in seen.targets.items():
        if target.crashed:
            return _abort(rollout, f"{name} does not start: {target.crashed}", now, name)
    late = [name for name, target in seen.targets.items() if target.healthy < target.wanted]
    if not late:
        rollout = replace(rollout, started=now)
        canary = plan.steps[0] < 100 or bool(plan.shadow)
        if rollout.quick or rollout.previous is None or not canary:
            return _enter(rollout, Phase.LIVE, now, seen)
        if any(target.old_healthy == 0 for target in seen.targets.values()):
            note = "rolled forward at once: the live version does not answer its health check"
            return replace(_enter(rollout, Phase.LIVE, now, seen), note=note)
        return _enter(rollout, Phase.SHADOW if plan.shadow else Phase.CANARY, now, seen)
    if now - rollout.entered >= plan.start_timeout:
        seconds, deaf = plan.start_timeout.total_seconds(), seen.targets[late[0]].deaf
        return _abort(rollout, f"{late[0]} did not become healthy within {seconds:g} s{deaf}", now, late[0])
    return rollout


def _shadow(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    """Mirrored traffic only: no answer of the new release reaches anybody yet."""
    fault = _fault(rollout, plan, seen, now)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    enough = all(_new(rollout, seen, name).requests >= wanted for name, wanted in plan.shadow.items())
    if enough or now - rollout.entered >= max(plan.hold * 10, timedelta(seconds=30)):
        note = "" if enough else "insufficient evidence: too little traffic to shadow"
        return replace(_enter(rollout, Phase.CANARY, now, seen), note=note)
    return rollout


def _canary(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = _fault(rollout, plan, seen, now)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    broken = _broken(rollout, plan, seen)
    if broken and seen.routes_applied:
        return replace(_enter(rollout, Phase.LIVE, now, seen), note=f"rolled forward: {broken}")
    held = now - rollout.entered
    if held < plan.hold or not seen.routes_applied:
        return rollout
    unsure = _unsure(rollout, plan, seen)
    if unsure and held < plan.deadline and not (plan.insufficient == "promote" and _nobody(rollout, seen)):
        return rollout
    verdict = f"{Verdict.INSUFFICIENT}: {unsure}" if unsure else Verdict.PASS
    if unsure and plan.insufficient == "abort":
        return replace(_abort(rollout, verdict, now), verdict=verdict)
    following = rollout.step + 1
    if following >= len(plan.steps) or plan.steps[following] >= 100:
        return replace(_enter(rollout, Phase.LIVE, now, seen), verdict=verdict)
    return replace(_enter(rollout, Phase.CANARY, now, seen), step=following, verdict=verdict)


def _live(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = _fault(rollout, plan, seen, now)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    watched = now - rollout.entered >= plan.watch or rollout.previous is None  # there is nothing to go back to
    if (watched or rollout.successor) and seen.routes_applied:
        note = "" if watched else f"watched no longer: push {rollout.successor[:8]} is ready"
        return replace(_enter(rollout, Phase.DRAIN, now), note=note)
    return rollout


_TURNS = {
    Phase.PREPARE: _prepare,
    Phase.START: _start,
    Phase.SHADOW: _shadow,
    Phase.CANARY: _canary,
    Phase.LIVE: _live,
}
_WATCHED = (Phase.SHADOW, Phase.CANARY, Phase.LIVE)
_WARM = timedelta(seconds=2)
_LASTING = timedelta(seconds=2)  # a busy machine makes all answers late for a moment; a slow version goes on being slow
_SETTLE = timedelta(seconds=0.3)  # what was sent just before the routes changed shows up in the counters after this


# --- what the counters say


def _fault(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> tuple[str, str] | None:
    """The target that is not fit to serve, and why: `(target, reason)`."""
    for name, target in seen.targets.items():
        if target.crashed and target.routed and rollout.phase is not Phase.SHADOW:
            return name, f"{name} crashed: {target.crashed}"
        if target.crashed:
            return name, f"{name} does not keep running: {target.crashed}"
        if target.memory:
            return name, f"{name} {target.memory}"
        if target.routed and target.healthy == 0:
            return name, f"{name} stopped answering its health check"
        bound = plan.aborts.get(name)
        reason = ""
        if bound is not None and target.routed:
            new, old = _new(rollout, seen, name), _old(rollout, seen, name)
            reason = worse(new, old, bound, plan.looks)
            if not reason and rollout.slow is not None and now - rollout.slow >= _LASTING:
                reason = slow(new, old, bound, plan.looks)
        if reason:
            return name, f"{name} {reason}"
    return None


def _slow(rollout: Rollout, plan: Plan, seen: Seen, name: str) -> bool:
    bound = plan.aborts.get(name)
    if bound is None or not seen.targets[name].routed:
        return False
    return bool(slow(_new(rollout, seen, name), _old(rollout, seen, name), bound, plan.looks))


def _unsure(rollout: Rollout, plan: Plan, seen: Seen) -> str:
    """The target of which too little was seen to say that it is fine; empty when all are."""
    for name, bound in plan.aborts.items():
        target = seen.targets.get(name)
        new, old = _new(rollout, seen, name), _old(rollout, seen, name)
        if target is not None and target.routed and not fine(new, old, bound, plan.looks):
            return f"{name} saw {new.requests} requests at {plan.steps[rollout.step]} %"
    return ""


def _nobody(rollout: Rollout, seen: Seen) -> bool:
    """Whether no version got a single request in this step: waiting for more of them protects nobody."""
    return not any(
        _new(rollout, seen, name).requests or target.old.since(rollout.live.get(name, Counts())).requests
        for name, target in seen.targets.items()
    )


def _broken(rollout: Rollout, plan: Plan, seen: Seen) -> str:
    """How the live version is broken where the new one is not: then waiting helps nobody."""
    for name, bound in plan.aborts.items():
        target = seen.targets.get(name)
        if target is None or not target.routed:
            continue
        if target.old_healthy == 0:
            return f"the live version of {name} does not answer its health check"
        new, old = _new(rollout, seen, name), _old(rollout, seen, name)
        if better(new, old, bound, plan.looks):
            seen_ = f"fails {old.errors} of {old.requests} requests, the new one {new.errors} of {new.requests}"
            return f"the live version of {name} {seen_}"
    return ""


def _new(rollout: Rollout, seen: Seen, name: str) -> Counts:
    target = seen.targets.get(name)
    return target.new.since(rollout.base.get(name, Counts())) if target else Counts()


def _old(rollout: Rollout, seen: Seen, name: str) -> Counts:
    """The live version beside the new one in the same step; once that has all traffic, as it was last."""
    target = seen.targets.get(name)
    if target is None:
        return Counts()
    beside = target.old.since(rollout.live.get(name, Counts()))
    return beside if beside.requests else target.old


def _enter(rollout: Rollout, phase: Phase, now: datetime, seen: Seen | None = None) -> Rollout:
    """`seen` where the analysis begins anew: what was counted until now is not counted again."""
    entered = replace(rollout, phase=phase, step=0, entered=now, note="", verdict="", paused=None, pause_until=None)
    if seen is None:
        return entered
    base = {name: target.new for name, target in seen.targets.items()}
    return replace(entered, base=base, live={name: target.old for name, target in seen.targets.items()})


def _abort(rollout: Rollout, reason: str, now: datetime, culprit: str = "") -> Rollout:
    return replace(_enter(rollout, Phase.ABORTING, now), abort=reason, culprit=culprit)
