"""The receipt of a rollout: what happened to requests while it went on, by the proxy's own counters. Pure.

Counters only grow until the proxy starts anew, so a receipt is a sum of differences between readings. It keeps the last
reading that it has summed up: whoever carries on after a crash takes the next difference from there.

    before   since the version's processes, or the proxy, began; until the rollout began
    during   until the new release had all traffic, or was given up
    after    the watch window and the drain; after an abort, the drain
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isnan
from typing import Any

from conveyor.domain.outcome import Outcomes
from conveyor.domain.proxy import ProxyStats
from conveyor.domain.rollout import Phase
from conveyor.domain.routing import Bin, quantile

SPANS = ("before", "during", "after")
_LATER = frozenset({Phase.LIVE, Phase.DRAIN, Phase.ABORTING, Phase.DONE, Phase.ROLLED_BACK})
_ROUNDED = timedelta(seconds=2)  # the proxy tells its age in whole seconds


@dataclass(frozen=True, slots=True)
class Line:
    """What users met in one span. Percentiles are of what the version took to answer; mirrored copies are among them.

    `latencies` is empty once the receipt is closed.
    """

    outcomes: Outcomes = field(default_factory=Outcomes)
    p50_ms: float | None = None
    p99_ms: float | None = None
    latencies: tuple[Bin, ...] = ()

    def plus(self, more: Outcomes, latencies: Iterable[Bin]) -> Line:
        bins = _merged((*self.latencies, *latencies))
        return Line(self.outcomes.plus(more), _ms(bins, 0.50), _ms(bins, 0.99), bins)


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version of one target. `side` is old, new, or both for what the release did not change."""

    target: str
    version: str
    cluster: str
    side: str
    before: Line = field(default_factory=Line)
    during: Line = field(default_factory=Line)
    after: Line = field(default_factory=Line)
    unfinished: int = 0  # in flight when its processes were told to end

    def add(self, span: str, outcomes: Outcomes, latencies: Iterable[Bin]) -> VersionLine:
        line: Line = getattr(self, span)
        changed: dict[str, Any] = {span: line.plus(outcomes, latencies)}
        return replace(self, **changed)


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """A phase, or a step of the canary.

    `switch_ms` is from the decision until the proxy had the routes for it; 0 when it had them before, None until then.
    """

    phase: str
    percent: int
    began: datetime
    ended: datetime | None = None
    switch_ms: float | None = None
    note: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class ClusterReading:
    outcomes: Outcomes
    latencies: tuple[Bin, ...]
    active: int


@dataclass(frozen=True, slots=True)
class Reading:
    at: datetime
    uptime: int
    active: int  # in flight in the whole proxy
    unrouted: int  # 5xx that the proxy gave because no version had the address; of all environments
    clusters: dict[str, ClusterReading]

    def restarted_since(self, earlier: Reading) -> bool:
        began = self.at - timedelta(seconds=self.uptime)
        return self.uptime < earlier.uptime or began > earlier.at + _ROUNDED


@dataclass(frozen=True, slots=True)
class Receipt:
    """`ended` and `result` are those of the rollout; None and empty while it goes on. `id` is the release's."""

    id: str
    environment: str
    release: int
    previous: int | None
    began: datetime
    versions: tuple[VersionLine, ...]
    phases: tuple[PhaseLine, ...] = ()
    ended: datetime | None = None
    result: str = ""  # live | rolled back
    reason: str = ""
    restarts: int = 0  # of the proxy, while the rollout went on
    lost: int = 0  # in flight in the proxy when it ended
    unrouted: int = 0
    before: Line = field(default_factory=Line)  # the sums over all versions, once closed
    during: Line = field(default_factory=Line)
    after: Line = field(default_factory=Line)
    reading: Reading | None = None  # what is summed up already, while open

    @property
    def outcomes(self) -> Outcomes:
        """Of all versions, from the beginning of the rollout to its end."""
        found = Outcomes()
        for version in self.versions:
            found = found.plus(version.during.outcomes).plus(version.after.outcomes)
        return found

    @property
    def failed(self) -> int:
        return self.outcomes.failed + self.unrouted + self.lost

    @property
    def cut(self) -> int:
        """Answers that were broken off, and at most what else was in flight when processes were told to end."""
        return self.outcomes.cut_streams + sum(version.unfinished for version in self.versions)

    @property
    def switch_ms(self) -> float | None:
        """How long all traffic took to move: to the new release, or back."""
        return next((p.switch_ms for p in reversed(self.phases) if p.phase in (Phase.LIVE, Phase.ABORTING)), None)


def read(proxy: ProxyStats, at: datetime) -> Reading:
    clusters = {
        name: ClusterReading(stats.outcomes, stats.latencies, stats.active) for name, stats in proxy.clusters.items()
    }
    return Reading(at, proxy.uptime, proxy.active, proxy.unrouted.failed, clusters)


def span(phase: Phase) -> str:
    return "after" if phase in _LATER else "during"


def begin(id_: str, previous: int | None, versions: Iterable[VersionLine], now: Reading) -> Receipt:
    environment, _, number = id_.rpartition("/")
    known = tuple(
        version.add("before", found.outcomes, found.latencies)
        if version.side != "new" and (found := now.clusters.get(version.cluster))
        else version
        for version in versions
    )
    return Receipt(id_, environment, int(number), previous, now.at, known, reading=now)


def advance(receipt: Receipt, now: Reading, into: str) -> Receipt:
    """Sums up what came since the last reading, in the span `into`."""
    base = receipt.reading
    assert base is not None, "a closed receipt does not change"
    anew = now.restarted_since(base)
    lines = []
    for version in receipt.versions:
        found, before = now.clusters.get(version.cluster), base.clusters.get(version.cluster)
        if found is None:
            lines.append(version)
        elif before is None or anew:
            lines.append(version.add(into, found.outcomes, found.latencies))
        else:
            more = _more(found.latencies, before.latencies)
            lines.append(version.add(into, found.outcomes.since(before.outcomes), more))
    return replace(
        receipt,
        versions=tuple(lines),
        restarts=receipt.restarts + anew,
        lost=receipt.lost + (base.active if anew else 0),
        unrouted=receipt.unrouted + (now.unrouted if anew else max(0, now.unrouted - base.unrouted)),
        reading=now,
    )


def enter(receipt: Receipt, phase: PhaseLine) -> Receipt:
    """A phase begins, and what was before it ends, with `phase.verdict`. The same phase twice is one."""
    last = receipt.phases[-1] if receipt.phases else None
    if last is None:
        return replace(receipt, phases=(phase,))
    if (last.phase, last.percent) == (phase.phase, phase.percent):
        return receipt
    ended = replace(last, ended=phase.began, verdict=phase.verdict)
    return replace(receipt, phases=(*receipt.phases[:-1], ended, replace(phase, verdict="")))


def switched(receipt: Receipt, loaded: datetime | None) -> Receipt:
    """The proxy follows the phase now; it took the routes over at `loaded`, or had them before."""
    if not receipt.phases or receipt.phases[-1].switch_ms is not None:
        return receipt
    last = receipt.phases[-1]
    took = (loaded - last.began).total_seconds() * 1000 if loaded else 0.0
    return replace(receipt, phases=(*receipt.phases[:-1], replace(last, switch_ms=round(max(0.0, took), 1))))


def close(receipt: Receipt, result: str, reason: str, at: datetime) -> Receipt:
    """The rollout has ended. What is in flight on the side that goes is counted as unfinished."""
    leaving = "old" if result == "live" else "new"
    active = {name: found.active for name, found in receipt.reading.clusters.items()} if receipt.reading else {}
    sums: dict[str, Any] = {name: Line() for name in SPANS}
    for version in receipt.versions:
        for name in SPANS:
            line: Line = getattr(version, name)
            sums[name] = sums[name].plus(line.outcomes, line.latencies)
    versions = tuple(
        replace(_brief(version), unfinished=active.get(version.cluster, 0) if version.side == leaving else 0)
        for version in receipt.versions
    )
    phases = receipt.phases
    if phases and phases[-1].ended is None:
        phases = (*phases[:-1], replace(phases[-1], ended=at))
    total = _brief(VersionLine("", "", "", "both", **sums))
    return replace(
        receipt,
        versions=versions,
        phases=phases,
        ended=at,
        result=result,
        reason=reason,
        reading=None,
        before=total.before,
        during=total.during,
        after=total.after,
    )


def _brief(version: VersionLine) -> VersionLine:
    """Without what percentiles are computed from."""
    lines: dict[str, Any] = {name: replace(getattr(version, name), latencies=()) for name in SPANS}
    return replace(version, **lines)


def _merged(bins: tuple[Bin, ...]) -> tuple[Bin, ...]:
    counts: Counter[tuple[float, float]] = Counter()
    for bin_ in bins:
        counts[bin_.low, bin_.width] += bin_.count
    return tuple(Bin(low, width, count) for (low, width), count in sorted(counts.items()) if count)


def _more(now: tuple[Bin, ...], before: tuple[Bin, ...]) -> tuple[Bin, ...]:
    """The difference; all of `now`, when the cluster was made anew in between."""
    if sum(bin_.count for bin_ in now) < sum(bin_.count for bin_ in before):
        return now
    known = {bin_.low: bin_.count for bin_ in before}
    return tuple(Bin(b.low, b.width, max(0, b.count - known.get(b.low, 0))) for b in now)


def _ms(bins: tuple[Bin, ...], share: float) -> float | None:
    found = quantile(bins, share)
    return None if isnan(found) else round(found, 2)
