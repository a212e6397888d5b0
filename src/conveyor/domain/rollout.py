"""The rollout: the state machine that moves an environment from one release to the next. Pure.

    prepare ─► start ─► shadow ─► canary (steps) ─► live ─► drain ─► done
       └─────────┴────────┴───────────┴───────────────┴─► aborting ─► rolled back

`prepare` rehearses and runs migrations; `live` has all traffic on the new release while the old one is kept warm for
the watch window. `decide` is one turn; what must run and how traffic is split in a phase follows from `split` and
`running`, so that carrying it out is level-triggered: a crash anywhere is just a later observation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from conveyor.domain.analysis import Verdict
from conveyor.domain.canary import Counts
from conveyor.domain.rollout_plan import Plan, plan
from conveyor.domain.rollout_sight import (
    Seen,
    TargetSeen,
    broken_live,
    fault_of,
    looks_slow,
    shadowed,
    unasked,
    unsure_of,
)
from conveyor.domain.rollout_state import CLOSED, Phase, Rollout

__all__ = [
    "CLOSED",
    "Phase",
    "Plan",
    "Rollout",
    "Seen",
    "TargetSeen",
    "decide",
    "pause",
    "plan",
    "resume",
    "running",
    "split",
    "took_over",
]


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
    longest = max(plan.deadline, plan.watch, plan.shadow_within)
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
    late = watched and any(looks_slow(rollout, plan, seen, name) for name in seen.targets)
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
    fault = fault_of(rollout, plan, seen, now) if rollout.phase in _WATCHED else None
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
    fault = fault_of(rollout, plan, seen, now)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    enough = all(shadowed(rollout, seen, name) >= wanted for name, wanted in plan.shadow.items())
    if enough or now - rollout.entered >= plan.shadow_within:
        return replace(_enter(rollout, Phase.CANARY, now, seen), note="" if enough else _few(rollout, plan, seen))
    return rollout


def _few(rollout: Rollout, plan: Plan, seen: Seen) -> str:
    had = ", ".join(f"{name} {shadowed(rollout, seen, name)} of {wanted}" for name, wanted in plan.shadow.items())
    return f"insufficient evidence: too little traffic to shadow ({had} requests)"


def _canary(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = fault_of(rollout, plan, seen, now)
    if fault:
        return _abort(rollout, fault[1], now, fault[0])
    broken = broken_live(rollout, plan, seen)
    if broken and seen.routes_applied:
        return replace(_enter(rollout, Phase.LIVE, now, seen), note=f"rolled forward: {broken}")
    held = now - rollout.entered
    if held < plan.hold or not seen.routes_applied:
        return rollout
    unsure = unsure_of(rollout, plan, seen)
    if unsure and held < plan.deadline and not (plan.insufficient == "promote" and unasked(rollout, seen)):
        return rollout
    verdict = f"{Verdict.INSUFFICIENT}: {unsure}" if unsure else Verdict.PASS
    if unsure and plan.insufficient == "abort":
        return replace(_abort(rollout, verdict, now), verdict=verdict)
    following = rollout.step + 1
    if following >= len(plan.steps) or plan.steps[following] >= 100:
        return replace(_enter(rollout, Phase.LIVE, now, seen), verdict=verdict)
    return replace(_enter(rollout, Phase.CANARY, now, seen), step=following, verdict=verdict)


def _live(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> Rollout:
    fault = fault_of(rollout, plan, seen, now)
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
_SETTLE = timedelta(seconds=0.3)  # what was sent just before the routes changed shows up in the counters after this


def _enter(rollout: Rollout, phase: Phase, now: datetime, seen: Seen | None = None) -> Rollout:
    """`seen` where the analysis begins anew: what was counted until now is not counted again."""
    entered = replace(rollout, phase=phase, step=0, entered=now, note="", verdict="", paused=None, pause_until=None)
    if seen is None:
        return entered
    base = {name: target.new for name, target in seen.targets.items()}
    return replace(entered, base=base, live={name: target.old for name, target in seen.targets.items()})


def _abort(rollout: Rollout, reason: str, now: datetime, culprit: str = "") -> Rollout:
    return replace(_enter(rollout, Phase.ABORTING, now), abort=reason, culprit=culprit)
