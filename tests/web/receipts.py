"""A receipt as the domain makes it: a rollout with a canary, a few failures, and a restart of the proxy."""

from __future__ import annotations

from datetime import datetime, timedelta

from conveyor.domain.outcome import Outcomes
from conveyor.domain.receipt import (
    ClusterReading,
    PhaseLine,
    Reading,
    Receipt,
    VersionLine,
    advance,
    begin,
    close,
    enter,
    switched,
)
from conveyor.domain.rollout import Phase
from conveyor.domain.routing import Bin


def receipt(id_: str, start: datetime, hostile: str, *, closed: bool) -> Receipt:
    versions = (
        VersionLine("service.web", "web@1a2b3c4d", "old", "old"),
        VersionLine("service.web", "web@99887766", "new", "new"),
        VersionLine("model.fraud", "fraud@2", "fraud", "both"),
    )

    def at(seconds: float, **found: ClusterReading) -> Reading:
        return Reading(start + timedelta(seconds=seconds), 1000 + int(seconds), 12, 0, found)

    def seen(ended: int, ms: float, active: int = 0, **causes: int) -> ClusterReading:
        slow = ended // 50
        bins = (Bin(ms, 1.0, ended - slow), Bin(ms * 3, 5.0, slow))
        return ClusterReading(Outcomes(ended, **causes), bins, active)

    made = begin(id_, 1, versions, at(0, old=seen(48_210, 11, errors=3), fraud=seen(5_120, 2)))
    made = enter(made, PhaseLine(Phase.PREPARE, 0, start))
    made = enter(made, PhaseLine(Phase.START, 0, start + timedelta(seconds=1.2)))
    made = enter(made, PhaseLine(Phase.CANARY, 25, start + timedelta(seconds=3), note=hostile))
    made = switched(made, start + timedelta(seconds=3, milliseconds=11))
    during = at(63, old=seen(50_004, 11, errors=3), new=seen(604, 12, errors=1, timed_out=1), fraud=seen(5_400, 2))
    made = advance(made, during, "during")
    made = enter(made, PhaseLine(Phase.LIVE, 100, start + timedelta(seconds=63), verdict="pass"))
    if not closed:
        return made
    made = switched(made, start + timedelta(seconds=63, milliseconds=8.5))
    made = enter(made, PhaseLine(Phase.DRAIN, 100, start + timedelta(seconds=183)))
    last = at(
        184,
        old=seen(50_020, 11, 2, errors=3, cut_streams=1),
        new=seen(4_404, 12, errors=1, timed_out=1, aborted_by_client=4),
        fraud=seen(5_900, 2),
    )
    return close(advance(made, last, "after"), "live", "", start + timedelta(seconds=184))
