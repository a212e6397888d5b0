"""What is seen of a rollout's targets, and what that says: a fault, too little to tell, a broken live version. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from conveyor.domain.canary import Counts, better, fine, slow, worse
from conveyor.domain.rollout_plan import Plan
from conveyor.domain.rollout_state import Phase, Rollout
from conveyor.domain.shadow import Shadowed, diverged


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
    shadow: Shadowed | None = None  # of a model: its answers beside the live version's


@dataclass(frozen=True, slots=True)
class Seen:
    targets: dict[str, TargetSeen]
    migration: str = "none"  # none | running | succeeded | failed: why
    routes_applied: bool = False  # the proxy follows the split of this phase
    leaving: int = 0  # requests and streams in flight on targets that the new release has no more


LASTING = timedelta(seconds=2)
"""A busy machine makes all answers late for a moment; a slow version goes on being slow."""


def fault_of(rollout: Rollout, plan: Plan, seen: Seen, now: datetime) -> tuple[str, str] | None:
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
            new, old = new_counts(rollout, seen, name), old_counts(rollout, seen, name)
            reason = worse(new, old, bound, plan.looks)
            if not reason and rollout.slow is not None and now - rollout.slow >= LASTING:
                reason = slow(new, old, bound, plan.looks)
            if not reason and target.shadow is not None and rollout.phase is Phase.SHADOW:
                reason = diverged(target.shadow, bound, plan.shadow.get(name, 0))
        if reason:
            return name, f"{name} {reason}"
    return None


def shadowed(rollout: Rollout, seen: Seen, name: str) -> int:
    """Requests that the shadow was judged by: those compared, or where nothing is compared those that it got."""
    target = seen.targets.get(name)
    if target is not None and target.shadow is not None:
        return target.shadow.requests
    return new_counts(rollout, seen, name).requests


def looks_slow(rollout: Rollout, plan: Plan, seen: Seen, name: str) -> bool:
    bound = plan.aborts.get(name)
    if bound is None or not seen.targets[name].routed:
        return False
    return bool(slow(new_counts(rollout, seen, name), old_counts(rollout, seen, name), bound, plan.looks))


def unsure_of(rollout: Rollout, plan: Plan, seen: Seen) -> str:
    """The target of which too little was seen to say that it is fine; empty when all are."""
    for name, bound in plan.aborts.items():
        target = seen.targets.get(name)
        new, old = new_counts(rollout, seen, name), old_counts(rollout, seen, name)
        if target is not None and target.routed and not fine(new, old, bound, plan.looks):
            return f"{name} saw {new.requests} requests at {plan.steps[rollout.step]} %"
    return ""


def unasked(rollout: Rollout, seen: Seen) -> bool:
    """Whether no version got a single request in this step: waiting for more of them protects nobody."""
    return not any(
        new_counts(rollout, seen, name).requests or target.old.since(rollout.live.get(name, Counts())).requests
        for name, target in seen.targets.items()
    )


def broken_live(rollout: Rollout, plan: Plan, seen: Seen) -> str:
    """How the live version is broken where the new one is not: then waiting helps nobody."""
    for name, bound in plan.aborts.items():
        target = seen.targets.get(name)
        if target is None or not target.routed:
            continue
        if target.old_healthy == 0:
            return f"the live version of {name} does not answer its health check"
        new, old = new_counts(rollout, seen, name), old_counts(rollout, seen, name)
        if better(new, old, bound, plan.looks):
            seen_ = f"fails {old.errors} of {old.requests} requests, the new one {new.errors} of {new.requests}"
            return f"the live version of {name} {seen_}"
    return ""


def new_counts(rollout: Rollout, seen: Seen, name: str) -> Counts:
    target = seen.targets.get(name)
    return target.new.since(rollout.base.get(name, Counts())) if target else Counts()


def old_counts(rollout: Rollout, seen: Seen, name: str) -> Counts:
    """The live version beside the new one in the same step; once that has all traffic, as it was last."""
    target = seen.targets.get(name)
    if target is None:
        return Counts()
    beside = target.old.since(rollout.live.get(name, Counts()))
    return beside if beside.requests else target.old
