"""What the proxy's counters say of a new version beside the live one: worse, fine, or nobody can tell yet. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conveyor.domain.analysis import Share, Verdict, compare
from conveyor.domain.project import Abort
from conveyor.domain.routing import Bin, quantile

CHECKS_FAILED = 3
"""So many failed health checks in one step, and it is not healthy, whatever the last one said."""
NOISE_MS = 5.0
"""Below this a difference in time is the machine's, not the version's."""
_SLOW_TOLERATED, _SLOW_RISE = 0.05, 0.25
_TAIL_TOLERATED, _TAIL_RISE = 0.01, 0.04


@dataclass(frozen=True, slots=True)
class Counts:
    """What the proxy counted for a cluster. `times`: how long its answers took, in milliseconds."""

    requests: int = 0
    errors: int = 0
    times: tuple[Bin, ...] = ()
    checks_failed: int = 0  # health checks

    @property
    def timed(self) -> int:
        """Answers whose time was seen."""
        return sum(bin_.count for bin_ in self.times)

    def since(self, base: Counts) -> Counts:
        """What was counted after `base`; a proxy that was started again counts from its beginning."""
        if base.requests > self.requests:
            base = Counts()
        before = {bin_.low: bin_.count for bin_ in base.times}
        times = tuple(replace(bin_, count=max(0, bin_.count - before.get(bin_.low, 0))) for bin_ in self.times)
        failed = max(0, self.checks_failed - base.checks_failed)
        return Counts(self.requests - base.requests, max(0, self.errors - base.errors), times, failed)


def worse(new: Counts, old: Counts, bound: Abort, looks: int) -> str:
    """How the new version fails more than it may; empty when it does not, or when nobody can tell yet."""
    if _errors(new, old, bound, looks) is Verdict.FAIL:
        beside = f", the live version {old.errors} of {old.requests}" if old.requests else ""
        return f"answered {new.errors} of {new.requests} requests with 5xx{beside} (bound {bound.error_rate:.1%})"
    if new.checks_failed >= CHECKS_FAILED:
        return f"failed {new.checks_failed} health checks, on and off"
    return ""


def slow(new: Counts, old: Counts, bound: Abort, looks: int) -> str:
    """How its answers take longer than they may; empty when they do not, or when nobody can tell yet.

    The test takes requests as independent. They are not: for a moment a busy machine makes all of them late. So one
    look says little, and the caller waits whether the next ones say the same.
    """
    if new.timed < bound.min_requests:
        return ""
    most = bound.latency_p99_ms
    if most is not None and _tail(new, most, looks) is Verdict.FAIL:
        late = over(new, most)
        return f"took more than {most:g} ms for {late.bad} of {late.total} requests (bound {_TAIL_TOLERATED:.1%})"
    limit = slow_from(old, bound)
    if limit is not None and _slower(new, old, limit, looks) is Verdict.FAIL:
        late, live = over(new, limit), over(old, limit)
        took = f"took more than {limit:.0f} ms for {late.bad} of {late.total} requests"
        return f"{took}, the live version for {live.bad} of {live.total} ({bound.slower:g} times its median)"
    return ""


def fine(new: Counts, old: Counts, bound: Abort, looks: int) -> bool:
    """Whether enough was seen to say that it is no worse."""
    limit = slow_from(old, bound)
    if new.requests < bound.min_requests or _errors(new, old, bound, looks) is not Verdict.PASS:
        return False
    return limit is None or _slower(new, old, limit, looks) is Verdict.PASS


def better(new: Counts, old: Counts, bound: Abort, looks: int) -> bool:
    """Whether the live version fails by the same test that the new one passes through."""
    live, fresh = Share(old.errors, old.requests), Share(new.errors, new.requests)
    fails = compare(live, fresh, bound.error_rate, bound.regression, looks) is Verdict.FAIL
    return fails and new.requests >= bound.min_requests


def slow_from(old: Counts, bound: Abort) -> float | None:
    """Milliseconds from which an answer counts as slow; None while too little of the live version was seen."""
    if old.timed < bound.min_requests:
        return None
    return bound.slower * quantile(old.times, 0.5) + NOISE_MS


def over(counts: Counts, limit: float) -> Share:
    """Answers that took longer than `limit` milliseconds."""
    slow = sum(bin_.count for bin_ in counts.times if bin_.low >= limit)
    return Share(slow, counts.timed)


def _errors(new: Counts, old: Counts, bound: Abort, looks: int) -> Verdict:
    live = Share(old.errors, old.requests)
    return compare(Share(new.errors, new.requests), live, bound.error_rate, bound.regression, looks)


def _slower(new: Counts, old: Counts, limit: float, looks: int) -> Verdict:
    return compare(over(new, limit), over(old, limit), _SLOW_TOLERATED, _SLOW_RISE, looks)


def _tail(new: Counts, limit: float, looks: int) -> Verdict:
    return compare(over(new, limit), Share(0, 0), _TAIL_TOLERATED, _TAIL_RISE, looks)
