from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain import wire
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
    span,
    switched,
)
from conveyor.domain.rollout import Phase
from conveyor.domain.routing import Bin

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
OLD = VersionLine("service.web", "web@aaaaaaaa", "old", "old")
NEW = VersionLine("service.web", "web@bbbbbbbb", "new", "new")
SAME = VersionLine("model.fraud", "fraud@3", "fraud", "both")


def at(seconds: float, *, uptime: int | None = None, active: int = 0, unrouted: int = 0, **found: object) -> Reading:
    """A reading of a proxy that started 1000 s before, unless told otherwise."""
    age = 1000 + int(seconds) if uptime is None else uptime
    clusters = {name: value for name, value in found.items() if isinstance(value, ClusterReading)}
    return Reading(START + timedelta(seconds=seconds), age, active, unrouted, clusters)


def counted(ended: int, *, ms: float = 10.0, active: int = 0, **causes: int) -> ClusterReading:
    return ClusterReading(Outcomes(ended, **causes), (Bin(ms, 1.0, ended),), active)


def test_a_rollout_as_users_met_it() -> None:
    receipt = begin("shop/production/4", 3, (OLD, NEW, SAME), at(0, old=counted(1000, errors=2), fraud=counted(50)))
    receipt = enter(receipt, PhaseLine(Phase.PREPARE, 0, START))
    receipt = enter(receipt, PhaseLine(Phase.CANARY, 10, START + timedelta(seconds=2)))
    receipt = switched(receipt, START + timedelta(seconds=2.012))
    receipt = switched(receipt, START + timedelta(seconds=9))  # told once
    during = at(10, old=counted(1400, errors=2, refused=1), new=counted(100, ms=20, reset=2), fraud=counted(60))
    receipt = advance(receipt, during, "during")
    receipt = enter(receipt, PhaseLine(Phase.LIVE, 100, START + timedelta(seconds=10), verdict="pass"))
    receipt = enter(receipt, PhaseLine(Phase.LIVE, 100, START + timedelta(seconds=11)))  # twice is once
    receipt = switched(receipt, START + timedelta(seconds=10.0075))
    receipt = enter(receipt, PhaseLine(Phase.DRAIN, 100, START + timedelta(seconds=40)))
    last = at(
        50,
        unrouted=1,
        old=counted(1410, errors=2, refused=1, cut_streams=1, active=3),
        new=counted(700, ms=20, reset=2, aborted_by_client=4, active=8),
        fraud=counted(90, timed_out=1),
    )
    open_ = wire.from_json(wire.to_json(receipt), Receipt)  # as another process finds it
    assert open_ == receipt
    done = close(advance(open_, last, "after"), "live", "", START + timedelta(seconds=50))

    old, new, same = done.versions
    assert (old.before.outcomes, old.during.outcomes) == (Outcomes(1000, errors=2), Outcomes(400, refused=1))
    assert (old.after.outcomes, old.unfinished) == (Outcomes(10, cut_streams=1), 3)
    assert (new.before.outcomes.ended, new.during.outcomes, new.unfinished) == (0, Outcomes(100, reset=2), 0)
    assert new.after.outcomes == Outcomes(600, aborted_by_client=4)
    assert (same.before.outcomes.ended, same.during.outcomes.ended, same.after.outcomes.timed_out) == (50, 10, 1)
    assert done.outcomes.ended == 400 + 10 + 100 + 600 + 10 + 30
    assert (done.failed, done.cut) == (1 + 2 + 1 + 1, 1 + 3)
    assert (done.before.outcomes.ended, done.during.outcomes.ended, done.after.outcomes.ended) == (1050, 510, 640)
    assert 10 <= (old.before.p50_ms or 0) <= 11
    assert 20 <= (new.during.p99_ms or 0) <= 21
    assert new.before.p50_ms is None
    assert [(p.phase, p.switch_ms, p.verdict) for p in done.phases] == [
        (Phase.PREPARE, None, ""),
        (Phase.CANARY, 12.0, "pass"),
        (Phase.LIVE, 7.5, ""),
        (Phase.DRAIN, None, ""),
    ]
    assert [p.ended for p in done.phases] == [START + timedelta(seconds=s) for s in (2, 10, 40, 50)]
    assert done.switch_ms == 7.5
    assert done.reading is None
    assert all(not line.latencies for v in done.versions for line in (v.before, v.during, v.after))
    assert wire.from_json(wire.to_json(done), Receipt) == done


def test_an_abort_leaves_with_the_new_side() -> None:
    receipt = begin("shop/production/4", 3, (OLD, NEW), at(0, old=counted(5)))
    receipt = enter(receipt, PhaseLine(Phase.CANARY, 10, START))
    receipt = enter(receipt, PhaseLine(Phase.ABORTING, 0, START + timedelta(seconds=1), note=""))
    receipt = switched(receipt, None)  # no route had to change
    receipt = advance(receipt, at(3, old=counted(7, active=9), new=counted(2, errors=2, active=1)), span(Phase.LIVE))
    gone = close(receipt, "rolled back", "web answered 2 of 2 with 5xx", START + timedelta(seconds=3))
    assert [version.unfinished for version in gone.versions] == [0, 1]
    assert (gone.failed, gone.cut, gone.switch_ms, gone.result) == (2, 1, 0.0, "rolled back")


def test_a_restart_of_the_proxy_loses_what_was_in_flight_and_is_told() -> None:
    receipt = begin("shop/production/4", 3, (OLD, NEW), at(0, active=1, unrouted=5, old=counted(100)))
    receipt = advance(receipt, at(10, active=6, unrouted=5, old=counted(150, errors=1)), "during")
    receipt = advance(receipt, at(12, uptime=1, unrouted=2, old=counted(30, errors=1)), "during")
    # Older than at the last reading, but younger than the time that passed: started in between, too.
    receipt = advance(receipt, at(2000, uptime=500, active=2, unrouted=2, old=counted(40)), "during")
    receipt = advance(receipt, at(2001, uptime=501, active=0, unrouted=3, old=counted(41)), "during")
    assert receipt.versions[0].during.outcomes == Outcomes(50 + 30 + 40 + 1, errors=2)
    assert (receipt.restarts, receipt.lost, receipt.unrouted) == (2, 6, 2 + 2 + 1)


def test_a_cluster_that_was_made_anew_counts_from_its_beginning() -> None:
    """Its latencies begin anew; what the proxy counted for its name goes on."""
    earlier = ClusterReading(Outcomes(100), (Bin(1.0, 1.0, 100),), 0)
    receipt = begin("shop/production/4", 3, (NEW,), at(0, new=earlier))
    later = ClusterReading(Outcomes(110), (Bin(5.0, 1.0, 10),), 0)
    receipt = advance(receipt, at(1, new=later), "during")
    line = receipt.versions[0].during
    assert (line.outcomes.ended, line.latencies) == (10, (Bin(5.0, 1.0, 10),))
    assert receipt.versions[0].before.outcomes.ended == 0, "an earlier life of the new version is not this rollout's"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_it_does_not_matter_how_often_one_looks(more: list[int], skipped: set[int]) -> None:
    """Every reading or only some of them: the same sum, as long as the last one is among them."""
    totals = [sum(more[: n + 1]) for n in range(len(more))]
    readings = [at(n + 1, new=counted(total, errors=total // 2)) for n, total in enumerate(totals)]
    seldom = [each for n, each in enumerate(readings) if n not in skipped or n == len(readings) - 1]

    def summed(through: list[Reading]) -> Receipt:
        receipt = begin("shop/production/4", 3, (NEW,), at(0))
        for each in through:
            receipt = advance(receipt, each, "during")
        return receipt

    assert summed(readings) == summed(seldom)
    assert summed(readings).versions[0].during.outcomes == Outcomes(totals[-1], errors=totals[-1] // 2)


def test_outcomes_that_went_back_begin_anew() -> None:
    assert Outcomes(3, errors=1).since(Outcomes(10, errors=5)) == Outcomes(3, errors=1)
    assert replace(Outcomes(12), errors=6).since(Outcomes(10, errors=5)) == Outcomes(2, errors=1)
