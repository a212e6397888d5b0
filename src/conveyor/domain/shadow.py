"""A model version in the shadow of the live one: the answers of both to the same requests, compared row by row. Pure.

A difference is counted in the unit of `scale` (1 for a probability, the spread of the live version's scores for a
regression), and as one where it is larger. A number between 0 and 1 may stand in a test of shares like a bad answer:
the likelihood ratio of `analysis` is convex in it, so that its promise about false aborts holds for a mean as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

from conveyor.domain.analysis import ALPHA, Share, Verdict, compare, evidence
from conveyor.domain.canary import Counts
from conveyor.domain.project import Abort
from conveyor.domain.routing import quantile

TESTS = 3  # of a shadow: divergence, broken scores, missing answers
_RISE = 0.5  # a divergence of one and a half times the bound must not go unseen
_LEAST_RISE = 0.02


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What was seen so far. A request is compared once both versions have answered it; its rows count alike.

    `broken`: requests for which the candidate gave NaN or infinity where the live version did not. `unanswered`: those
    that only the live version answered. `live` and `new` count scores in the bins between `edges`. What the proxy
    counted (`requests_sent`, errors, times) is known when the shadow has ended.
    """

    id: str  # rollout and target
    rollout: str = ""
    target: str = ""
    live_version: int = 0
    version: int = 0
    scale: float = 1.0
    tolerance: float = 0.1
    requests: int = 0
    rows: int = 0
    differing: int = 0  # rows
    difference: float = 0.0  # the sum over requests of the mean over their rows
    largest: float = 0.0
    broken: int = 0
    unanswered: int = 0
    psi: float = 0.0
    ks: float = 0.0
    edges: tuple[float, ...] = ()
    live: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    sent: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    live_p50_ms: float | None = None
    live_p99_ms: float | None = None
    result: str = ""  # empty while it goes on

    @property
    def mean(self) -> float:
        """The mean difference of a request."""
        return self.difference / self.requests if self.requests else 0.0

    @property
    def share(self) -> float:
        """Of rows whose scores differ beyond the tolerance."""
        return self.differing / self.rows if self.rows else 0.0

    def told(self) -> str:
        """Its figures, as a clause."""
        return (
            f"{self.rows:,} rows of {self.requests:,} requests: mean difference {self.mean:.3g}, {self.share:.1%} of "
            f"rows by more than {self.tolerance:g}, largest {self.largest:.3g}, PSI {self.psi:.2f}, KS {self.ks:.2f}"
        )


def diverged(seen: Shadowed, bound: Abort, wanted: int) -> str:
    """Why the candidate is not to go on; empty while nothing is held against it.

    Followed from the first request on by sequential tests; once as many were compared as were asked for (`wanted`), the
    mean itself is held against the bound.
    """
    broken = Share(seen.broken, seen.requests)
    if _fails(broken, bound):
        return (
            f"gave NaN or infinite scores for {seen.broken:,} of {seen.requests:,} requests; the live version did not"
        )
    missing = Share(seen.unanswered, seen.requests + seen.unanswered)
    if _fails(missing, bound):
        return f"did not answer {missing.bad:,} of {missing.total:,} requests that the live version answered"
    most = bound.divergence
    if most is None or seen.requests < bound.min_requests:
        return ""
    rise = max(_LEAST_RISE, _RISE * most)
    sure = evidence(Share(seen.difference, seen.requests), most, rise) >= log(TESTS / ALPHA)
    if sure or (seen.requests >= wanted and seen.mean > most):
        return (
            f"diverges from the live version by {seen.mean:.3g} on the mean (bound {most:g}). Compared: {seen.told()}"
        )
    return ""


def ended(seen: Shadowed, new: Counts, live: Counts, result: str) -> Shadowed:
    """With what the proxy counted while the shadow lasted."""
    return replace(
        seen,
        sent=new.requests,
        errors=new.errors,
        p50_ms=_ms(new, 0.5),
        p99_ms=_ms(new, 0.99),
        live_p50_ms=_ms(live, 0.5),
        live_p99_ms=_ms(live, 0.99),
        result=result,
    )


def _fails(share: Share, bound: Abort) -> bool:
    return compare(share, Share(0, 0), bound.error_rate, bound.regression, TESTS) is Verdict.FAIL


def _ms(counts: Counts, share: float) -> float | None:
    return round(quantile(counts.times, share), 2) if counts.timed else None
