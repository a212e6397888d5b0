"""The rollout under stepped time and arbitrary observations: it ends, abort wins, traffic grows only while well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.analysis import Verdict
from conveyor.domain.canary import Counts
from conveyor.domain.project import Abort, RolloutConfig, Shadow
from conveyor.domain.rollout import (
    CLOSED,
    DEAF,
    Phase,
    Plan,
    Rollout,
    Seen,
    TargetSeen,
    decide,
    pause,
    plan,
    resume,
    running,
    split,
)
from conveyor.domain.routing import Bin

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=1)
WARM = timedelta(seconds=2)
LIMIT = 3000  # turns of a second; far more than any of these plans may take

seconds = st.integers(0, 10).map(lambda value: timedelta(seconds=value))
plans = st.builds(
    lambda steps, hold, watch, drain, start, shadow, least: plan(
        {
            "web": RolloutConfig(
                shadow=Shadow(shadow),
                steps=tuple(sorted(steps)),
                hold=hold,
                watch=watch,
                drain=drain,
                start_timeout=start,
                abort=Abort(min_requests=least),
            )
        }
    ),
    st.sets(st.integers(1, 100), max_size=4),
    seconds,
    seconds,
    seconds,
    seconds,
    st.integers(0, 5),
    st.integers(0, 40),
)


def _rollout(previous: int | None = 1, *, quick: bool = False) -> Rollout:
    return Rollout("p/production/2", "p/production", 2, previous, NOW, NOW, quick=quick)


def _seen(healthy: int, new: Counts, *, crashed: str = "", migration: str = "none", applied: bool = True) -> Seen:
    return Seen({"web": TargetSeen(2, healthy, crashed, new=new, old=Counts(1000, 0))}, migration, applied)


@settings(max_examples=200, deadline=None)
@given(plan=plans, data=st.data(), first=st.booleans(), quick=st.booleans())
def test_every_rollout_ends_and_a_closed_one_stays(plan: Plan, data: st.DataObject, first: bool, quick: bool) -> None:
    """Anything may be observed for a while; then all stays as it last was, but the proxy and a migration settle."""
    rollout, now, requests, errors, healthy, crashed = _rollout(None if first else 1, quick=quick), NOW, 0, 0, 0, ""
    for turn in range(LIMIT):
        wild = turn < 25
        if wild:
            more = data.draw(st.integers(0, 50))
            requests, errors = requests + more, errors + data.draw(st.integers(0, more))
            healthy, crashed = data.draw(st.integers(0, 2)), data.draw(st.sampled_from(("", "", "", "no such port")))
        migration = data.draw(st.sampled_from(("none", "running", "failed: locked"))) if wild else "succeeded"
        seen = _seen(
            healthy,
            Counts(requests, errors),
            crashed=crashed,
            migration=migration,
            applied=data.draw(st.booleans()) if wild else True,
        )
        before, rollout = rollout, decide(rollout, plan, seen, now)
        assert _order(rollout) >= _order(before)
        old, new = running(rollout)
        percent = split(rollout, plan)
        assert new or percent == 0
        assert old or percent == 100
        if rollout.phase in CLOSED:
            break
        now += STEP
    assert rollout.phase in CLOSED
    assert (rollout.phase is Phase.ROLLED_BACK) == bool(rollout.abort)
    assert decide(rollout, plan, seen, now + STEP) == rollout


def _order(rollout: Rollout) -> tuple[int, int]:
    return list(Phase).index(rollout.phase), rollout.step


@given(plan=plans, phase=st.sampled_from([p for p in Phase if p not in CLOSED]), healthy=st.integers(0, 2))
def test_abort_always_wins(plan: Plan, phase: Phase, healthy: int) -> None:
    rollout = replace(_rollout(), phase=phase, abort="a person said so")
    after = decide(rollout, plan, _seen(healthy, Counts(10, 0)), NOW)
    assert after.phase in (Phase.ABORTING, Phase.ROLLED_BACK)
    assert split(after, plan) == 0
    assert after.abort == "a person said so"
    assert running(replace(after, phase=Phase.ABORTING)) == (True, True)


@settings(max_examples=100, deadline=None)
@given(plan=plans, rate=st.integers(0, 100))
def test_a_healthy_rollout_takes_over_step_by_step(plan: Plan, rate: int) -> None:
    """No error is never an abort, whatever the traffic; the share of the new release never shrinks."""
    rollout, now, shares, served = _rollout(), NOW, [], 0
    for _ in range(LIMIT):
        served += rate * split(rollout, plan) // 100
        rollout = decide(rollout, plan, _seen(2, Counts(served, 0)), now)
        shares.append(split(rollout, plan))
        if rollout.phase in CLOSED:
            break
        now += STEP
    assert rollout.phase is Phase.DONE
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert {step for step in plan.steps if step < 100} <= set(shares) | ({100} - set(plan.steps))


@settings(max_examples=100, deadline=None)
@given(plan=plans, rate=st.integers(60, 400))
def test_a_release_that_only_fails_is_aborted_at_its_smallest_share(plan: Plan, rate: int) -> None:
    rollout, now, failed, most = _rollout(), NOW, 0.0, 0
    for _ in range(LIMIT):
        failed += rate * split(rollout, plan) / 100
        rollout = decide(rollout, plan, _seen(2, Counts(int(failed), int(failed))), now)
        most = max(most, split(rollout, plan))
        if rollout.phase in CLOSED:
            break
        now += STEP
    held = plan.hold > STEP
    assert rollout.phase is Phase.ROLLED_BACK or not (held or plan.watch > STEP)
    if rollout.phase is Phase.ROLLED_BACK:
        assert rollout.culprit == "web"
        assert "5xx" in rollout.abort
    if held and plan.aborts["web"].min_requests:
        assert most <= max(plan.steps[0], 100 if plan.steps[0] == 100 else 0) or rate * plan.steps[0] < 300


def test_what_cannot_start_gets_no_traffic_and_says_why() -> None:
    chosen = plan({"web": RolloutConfig(start_timeout=timedelta(seconds=5))})
    starting = decide(_rollout(), chosen, _seen(0, Counts()), NOW)
    assert starting.phase is Phase.START
    crashed = decide(starting, chosen, _seen(0, Counts(), crashed="ModuleNotFoundError: payments"), NOW)
    late = decide(starting, chosen, _seen(1, Counts()), NOW + timedelta(seconds=6))
    for aborted, reason in ((crashed, "ModuleNotFoundError"), (late, "did not become healthy within 5 s")):
        assert aborted.phase is Phase.ABORTING
        assert aborted.culprit == "web"
        assert reason in aborted.abort
        assert split(aborted, chosen) == 0


def test_a_failed_migration_aborts_before_anything_starts() -> None:
    chosen = plan({"web": RolloutConfig()})
    assert decide(_rollout(), chosen, _seen(0, Counts(), migration="running"), NOW).phase is Phase.PREPARE
    aborted = decide(_rollout(), chosen, _seen(0, Counts(), migration="failed: no such column"), NOW)
    assert aborted.phase is Phase.ABORTING
    assert "no such column" in aborted.abort


def _canary(plan_: Plan, new: Counts, old: Counts, after: timedelta = timedelta(0), **more: int) -> Rollout:
    target = TargetSeen(2, 2, new=new, old=old, **more)
    since = NOW if after >= WARM else None  # what is slow has been so for a while
    rollout = replace(_rollout(), phase=Phase.CANARY, started=NOW, warm=after >= WARM, slow=since)
    return decide(rollout, plan_, Seen({"web": target}, routes_applied=True), NOW + after)


def test_a_live_release_as_faulty_as_the_new_one_is_no_reason_to_abort() -> None:
    chosen = plan({"web": RolloutConfig()})
    assert _canary(chosen, Counts(200, 20), Counts(1000, 110)).phase is Phase.CANARY
    aborted = _canary(chosen, Counts(200, 20), Counts(1000, 1))
    assert aborted.phase is Phase.ABORTING
    assert "20 of 200 requests with 5xx, the live version 1 of 1000" in aborted.abort


def test_a_broken_live_version_is_replaced_at_once() -> None:
    chosen = plan({"web": RolloutConfig()})
    for forward in (
        _canary(chosen, Counts(100, 0), Counts(1000, 300)),
        _canary(chosen, Counts(0, 0), Counts(1000, 0), old_healthy=0),
    ):
        assert forward.phase is Phase.LIVE
        assert "rolled forward: the live version of web" in forward.note


def _times(*milliseconds: float) -> Counts:
    spread = tuple(Bin(low, 1.0, milliseconds.count(low)) for low in sorted(set(milliseconds)))
    return Counts(len(milliseconds), 0, spread)


def test_a_version_ten_times_as_slow_is_given_up_and_one_a_little_slower_is_not() -> None:
    chosen = plan({"web": RolloutConfig()})
    live = _times(*([4.0] * 180 + [40.0] * 20))
    warm = WARM
    assert _canary(chosen, _times(*[40.0] * 30), live).phase is Phase.CANARY, "first requests fill caches"
    cold = replace(_rollout(), phase=Phase.CANARY, started=NOW)
    first = Seen({"web": TargetSeen(2, 2, new=_times(*[40.0] * 30), old=live)}, routes_applied=True)
    warmed = decide(cold, chosen, first, NOW + warm)
    assert (warmed.phase, warmed.warm) == (Phase.CANARY, True), "what came before is not held against it later"
    for more, phase in (([4.0] * 30, Phase.CANARY), ([40.0] * 30, Phase.ABORTING)):
        then = Seen({"web": TargetSeen(2, 2, new=_times(*[40.0] * 30, *more), old=live)}, routes_applied=True)
        looked = decide(warmed, chosen, then, NOW + warm + STEP)
        assert looked.phase is Phase.CANARY, "one look may have been at a busy machine"
        assert decide(looked, chosen, then, NOW + warm + 3 * STEP).phase is phase
        calm = Seen({"web": TargetSeen(2, 2, new=_times(*[4.0] * 500), old=live)}, routes_applied=True)
        assert decide(looked, chosen, calm, NOW + warm + 3 * STEP).slow is None
    slow = _canary(chosen, _times(*[40.0] * 30), live, warm)
    assert slow.phase is Phase.ABORTING
    assert "took more than 19 ms for 30 of 30 requests, the live version for 20 of 200" in slow.abort
    assert _canary(chosen, _times(*([6.0] * 27 + [40.0] * 3)), live, warm).phase is Phase.CANARY
    tail = plan({"web": RolloutConfig(abort=Abort(latency_p99_ms=30))})
    assert "took more than 30 ms" in _canary(tail, _times(*[40.0] * 20), Counts(), warm).abort


def test_too_little_traffic_is_insufficient_evidence_and_the_configuration_says_what_follows() -> None:
    """Ten requests a minute at a canary share of 5 %: one request every two minutes."""
    for outcome, phase in (("promote", Phase.CANARY), ("abort", Phase.ABORTING)):
        chosen = plan({"web": RolloutConfig(insufficient=outcome, hold=timedelta(minutes=2))})
        assert chosen.deadline == timedelta(minutes=10)
        for minutes in range(10):
            waiting = _canary(chosen, Counts(minutes // 2, 0), Counts(minutes * 10, 0), timedelta(minutes=minutes))
            assert (waiting.phase, waiting.step) == (Phase.CANARY, 0)
        ended = _canary(chosen, Counts(5, 0), Counts(95, 0), timedelta(minutes=10))
        assert ended.phase is phase
        assert ended.verdict.startswith(f"{Verdict.INSUFFICIENT}: web saw 5 requests at 5 %")
    enough = _canary(plan({"web": RolloutConfig()}), Counts(200, 0), Counts(2000, 0), timedelta(minutes=2))
    assert (enough.phase, enough.step, enough.verdict) == (Phase.CANARY, 1, "pass")


def test_where_nobody_asks_any_version_a_step_waits_no_longer_than_its_hold() -> None:
    nobody = Counts(1000, 0)  # all before this step
    for outcome, ends in (("promote", timedelta(seconds=30)), ("abort", timedelta(seconds=150))):
        chosen = plan({"web": RolloutConfig(insufficient=outcome)})
        seen = Seen({"web": TargetSeen(2, 2, old=nobody)}, routes_applied=True)
        waiting = replace(_rollout(), phase=Phase.CANARY, live={"web": nobody})
        assert decide(waiting, chosen, seen, NOW + ends - STEP) == waiting
        ended = decide(waiting, chosen, seen, NOW + ends)
        assert (ended.phase, ended.step) == ((Phase.CANARY, 1) if outcome == "promote" else (Phase.ABORTING, 0))
        assert ended.verdict == f"{Verdict.INSUFFICIENT}: web saw 0 requests at 5 %"


def test_a_first_release_and_one_that_a_newer_push_follows_are_not_watched() -> None:
    chosen, seen = plan({"web": RolloutConfig()}), Seen({"web": TargetSeen(2, 2)}, routes_applied=True)
    live = replace(_rollout(), phase=Phase.LIVE)
    assert decide(live, chosen, seen, NOW + chosen.watch - STEP) == live
    assert decide(replace(live, previous=None), chosen, seen, NOW).phase is Phase.DRAIN
    followed = decide(replace(live, successor="0123456789"), chosen, seen, NOW)
    assert (followed.phase, followed.note) == (Phase.DRAIN, "watched no longer: push 01234567 is ready")
    broken = Seen({"web": TargetSeen(2, 2, "exit code 1")}, routes_applied=True)
    assert decide(replace(live, successor="0123456789"), chosen, broken, NOW).phase is Phase.ABORTING


def test_a_pause_holds_a_rollout_but_not_its_faults_and_ends_by_itself() -> None:
    chosen = plan({"web": RolloutConfig(hold=timedelta(seconds=10))})
    held = pause(replace(_rollout(), phase=Phase.CANARY), NOW, timedelta(minutes=5))
    good = Seen({"web": TargetSeen(2, 2, new=Counts(500, 0), old=Counts(500, 0))}, routes_applied=True)
    bad = Seen({"web": TargetSeen(2, 2, new=Counts(500, 100), old=Counts(500, 0))}, routes_applied=True)
    later = NOW + timedelta(minutes=4)
    assert decide(held, chosen, good, later) == held
    assert decide(held, chosen, bad, later).phase is Phase.ABORTING
    assert decide(replace(held, abort="enough"), chosen, good, later).phase is Phase.ABORTING
    resumed = resume(held, later)
    assert (resumed.paused, resumed.entered) == (None, NOW + timedelta(minutes=4))
    assert decide(resumed, chosen, good, later + timedelta(seconds=9)).step == 0
    by_itself = decide(held, chosen, good, NOW + timedelta(minutes=5))
    assert by_itself.paused is None
    assert decide(by_itself, chosen, good, NOW + timedelta(minutes=6)).step == 1


def test_the_old_version_is_stopped_once_nothing_is_in_flight_or_its_time_is_over() -> None:
    chosen = plan({"web": RolloutConfig(drain=timedelta(seconds=10))})
    for phase, active in ((Phase.DRAIN, {"old_active": 3}), (Phase.ABORTING, {"new_active": 3})):
        rollout = replace(_rollout(), phase=phase, abort="bad" if phase is Phase.ABORTING else "")

        def after(seconds: float, **flying: int) -> bool:
            seen = Seen({"web": TargetSeen(2, 2, **flying)}, routes_applied=True)
            return decide(rollout, chosen, seen, NOW + timedelta(seconds=seconds)).phase in CLOSED  # noqa: B023

        assert not after(9, **active)
        assert after(10, **active)
        assert not after(0.1)
        assert after(1)


def test_a_proxy_that_never_takes_its_routes_holds_no_phase_up_for_ever() -> None:
    steps = plan({"web": RolloutConfig(steps=(50, 100))})
    seen = Seen({"web": TargetSeen(wanted=1, healthy=1, old_healthy=1)}, routes_applied=False)
    for phase in (Phase.CANARY, Phase.LIVE):
        stuck = replace(_rollout(), phase=phase)
        late = NOW + max(steps.deadline, steps.watch, steps.hold * 10) + DEAF
        assert decide(stuck, steps, seen, late - STEP).phase is phase
        assert decide(stuck, steps, seen, late).phase is Phase.ABORTING
    for phase, end in ((Phase.DRAIN, Phase.DONE), (Phase.ABORTING, Phase.ROLLED_BACK)):
        stuck = replace(_rollout(), phase=phase)
        assert decide(stuck, steps, seen, NOW + steps.drain + DEAF - STEP).phase is phase
        assert decide(stuck, steps, seen, NOW + steps.drain + DEAF).phase is end
