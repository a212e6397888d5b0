"""The rollout under stepped time and arbitrary observations: it ends, abort wins, traffic grows only while well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.project import Abort, RolloutConfig, Shadow
from conveyor.domain.rollout import (
    CLOSED,
    Counts,
    Phase,
    Plan,
    Rollout,
    Seen,
    TargetSeen,
    decide,
    plan,
    running,
    split,
    wilson_lower,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=1)
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
    return Seen({"web": TargetSeen(2, healthy, crashed, new, Counts(1000, 0))}, migration, applied)


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


def test_a_live_release_as_faulty_as_the_new_one_is_no_reason_to_abort() -> None:
    chosen = plan({"web": RolloutConfig()})
    canary = replace(_rollout(), phase=Phase.CANARY)
    target = TargetSeen(2, 2, "", Counts(200, 20), Counts(1000, 110))
    assert decide(canary, chosen, Seen({"web": target}, routes_applied=True), NOW).phase is Phase.CANARY
    better = replace(target, old=Counts(1000, 1))
    assert decide(canary, chosen, Seen({"web": better}, routes_applied=True), NOW).phase is Phase.ABORTING


@given(requests=st.integers(0, 10_000), data=st.data())
def test_wilson_lower_is_a_bound(requests: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, requests))
    low = wilson_lower(errors, requests)
    assert 0.0 <= low <= (errors / requests if requests else 0.0) + 1e-12
    assert wilson_lower(0, requests) == 0.0
