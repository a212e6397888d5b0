from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.governor import GUARD, decide, span
from conveyor.domain.governor_state import (
    DAY,
    Ending,
    Facts,
    GovernorState,
    Trigger,
    TriggerKind,
    ended,
    faulted,
    lifted,
    noticed,
    sound,
    started,
)
from conveyor.domain.project import Budget, RetrainConfig

T0 = datetime(2018, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = RetrainConfig(
    on=("data", "drift", "decay", "code"),
    min_new_rows=60_000,
    cooldown=6 * HOUR,
    debounce=timedelta(seconds=10),
    budget=Budget(runs_per_day=4),
)
EMPTY = GovernorState("shop/fraud", "shop")


def after(state: GovernorState = EMPTY, *kinds: TriggerKind, at: datetime = T0) -> GovernorState:
    for kind in kinds:
        state = noticed(state, Trigger(kind, at))
    return state


def test_new_rows_retrain_with_the_figures_in_the_reason():
    facts = Facts(new_rows=67_102, since_version=3)
    decision = decide(CONFIG, after(EMPTY, TriggerKind.DATA), facts, T0 + HOUR)
    assert decision.train
    assert decision.reason == ("retrains because 67,102 new labelled rows arrived since version 3 (needs 60,000)")
    assert decision.figures == {"new_rows": 67_102, "pending": 1, "needed": 60_000}


def ran(state: GovernorState, at: datetime, ending: Ending = Ending.READY) -> GovernorState:
    return ended(started(state, "run-1", at), ending)


@pytest.mark.parametrize(
    ("rule", "state", "facts", "says", "wait"),
    [
        ("pending", EMPTY, Facts(new_rows=10**6), "nothing has changed that it is told to act on", None),
        (
            "single flight",
            after(EMPTY, TriggerKind.MANUAL, TriggerKind.DATA),
            Facts(in_flight="run-7"),
            "run-7 is still training; manual, data will be answered after it",
            None,
        ),
        (
            "debounce",
            after(EMPTY, TriggerKind.CODE, at=T0 + HOUR - timedelta(seconds=4)),
            Facts(),
            "more may follow what just came; it waits until 2018-05-01 01:00:06 UTC",
            T0 + HOUR + timedelta(seconds=6),
        ),
        (
            "cooldown",
            after(ran(EMPTY, T0), TriggerKind.CODE),
            Facts(),
            "the cooldown of 6h ends at 2018-05-01 06:00:00 UTC",
            T0 + 6 * HOUR,
        ),
        (
            "budget",
            replace(after(EMPTY, TriggerKind.CODE), starts=tuple(T0 - k * HOUR for k in (20, 15, 10, 7))),
            Facts(),
            "its budget of 4 trainings in 24h is spent until 2018-05-01 04:00:00 UTC",
            T0 + 4 * HOUR,
        ),
        (
            "short",
            after(EMPTY, TriggerKind.CODE),
            Facts(short="labels reach back 3d, and window and holdout need 14d"),
            "labels reach back 3d",
            None,
        ),
        (
            "new rows",
            after(EMPTY, TriggerKind.DATA),
            Facts(new_rows=5, since_version=2),
            "only 5 new labelled rows arrived since version 2; data needs 60,000",
            None,
        ),
        ("new rows", after(EMPTY, TriggerKind.DRIFT), Facts(), "only 0 new labelled rows arrived; drift needs 1", None),
        (
            "data fault",
            faulted(after(EMPTY, TriggerKind.DRIFT), "amount is null in 12 % of window 7", T0),
            Facts(new_rows=10),
            "served data are faulty (amount is null in 12 % of window 7); mend them, or it goes on at 2018-05-02 00:00",
            T0 + DAY,
        ),
    ],
)
def test_every_rule_that_stops_says_why_and_until_when(rule, state, facts, says, wait):
    decision = decide(CONFIG, state, facts, T0 + HOUR)
    assert not decision.train
    assert decision.rule == rule
    assert decision.reason.startswith("did not retrain because ")
    assert says in decision.reason
    assert decision.wait_until == wait
    assert wire.from_json(wire.to_json(decision), type(decision)) == decision
    assert wire.from_json(wire.to_json(state), GovernorState) == state


def test_manual_passes_everything_but_single_flight():
    state = faulted(replace(after(EMPTY, TriggerKind.MANUAL), starts=(T0,) * 4, failures=9), "x", T0)
    decision = decide(CONFIG, state, Facts(short="no data"), T0)
    assert (decision.train, decision.trigger) == (True, TriggerKind.MANUAL)
    assert not decide(CONFIG, state, Facts(in_flight="run-2"), T0).train


def test_code_needs_no_rows_and_is_not_held_by_a_fault_and_answers_the_others():
    state = faulted(after(EMPTY, TriggerKind.DATA, TriggerKind.CODE), "nulls", T0)
    decision = decide(CONFIG, state, Facts(), T0 + HOUR)
    assert (decision.train, decision.trigger) == (True, TriggerKind.CODE)
    assert started(state, "r", T0).pending == ()
    assert decide(CONFIG, sound(after(EMPTY, TriggerKind.DRIFT)), Facts(new_rows=1), T0 + HOUR).train


def test_a_signals_whole_message_is_told_by_its_first_sentence():
    message = "risk (PSI 0.61, mean 0.5 against 0.1) moved away; the limit is 0.25. Likely a change in the world."
    state = noticed(after(EMPTY, TriggerKind.DATA), Trigger(TriggerKind.DRIFT, T0, message))
    assert decide(CONFIG, state, Facts(new_rows=60_000), T0 + HOUR).reason == (
        "retrains because risk (PSI 0.61, mean 0.5 against 0.1) moved away; the limit is 0.25; this also answers data"
    )
    held = faulted(state, "amount is 0 in every row in window 7. Likely a source stopped.", T0)
    reason = decide(CONFIG, held, Facts(new_rows=60_000), T0 + HOUR).reason
    assert "served data are faulty (amount is 0 in every row in window 7); mend them, or it goes on at" in reason


def test_a_trigger_that_the_project_did_not_ask_for_is_ignored():
    config = replace(CONFIG, on=("code",))
    assert decide(config, after(EMPTY, TriggerKind.DRIFT), Facts(new_rows=9), T0 + HOUR).rule == "pending"


def test_the_schedule_trains_once_for_all_missed_ticks_and_not_without_a_schedule():
    scheduled = replace(CONFIG, schedule="0 3 * * *")
    decision = decide(scheduled, EMPTY, Facts(due=True), T0)
    assert decision.train
    assert decision.reason == "retrains because the schedule '0 3 * * *' is due"
    assert decide(CONFIG, EMPTY, Facts(due=True), T0).rule == "pending"


def test_a_stream_of_triggers_cannot_hold_a_training_back_for_ever():
    state = EMPTY
    for second in range(0, 101, 5):
        now = T0 + timedelta(seconds=second)
        state = after(state, TriggerKind.CODE, at=now)
        assert decide(CONFIG, state, Facts(), now).train == (second >= 100)


def test_fruitless_retrains_for_a_signal_wait_twice_as_long_each_time():
    config = replace(CONFIG, cooldown=timedelta(0), budget=Budget(1000))
    state, waits, now = EMPTY, [], T0
    for _ in range(6):
        state = lifted(ran(state, now, Ending.REFUSED))  # the loop guard apart
        state = after(state, TriggerKind.DRIFT, at=now)
        decision = decide(config, state, Facts(new_rows=50), now + timedelta(seconds=10))
        waits.append(span(decision.wait_until - now) if decision.wait_until else "")
        now = decision.wait_until or now + timedelta(seconds=10)
        assert decide(config, state, Facts(new_rows=50), now).train
    assert waits == ["", "1m", "2m", "4m", "8m", "16m"]
    assert "6 candidates were refused by the gates; it waits 16m" in decision.reason
    fresh = after(state, TriggerKind.DATA, at=now - HOUR)
    assert decide(config, fresh, Facts(new_rows=60_000), now - timedelta(minutes=10)).trigger is TriggerKind.DATA


def test_a_failed_training_leaves_its_data_pending_under_backoff_and_a_push_goes_at_once():
    config = replace(CONFIG, cooldown=timedelta(0))
    state = ran(after(EMPTY, TriggerKind.DATA, TriggerKind.CODE, TriggerKind.MANUAL), T0 + HOUR, Ending.FAILED)
    assert [t.kind for t in state.pending] == [TriggerKind.DATA], "the same code would fail again"
    facts = Facts(new_rows=60_000)
    assert decide(config, state, facts, T0 + HOUR + timedelta(seconds=30)).rule == "backoff"
    assert decide(config, state, facts, T0 + HOUR + timedelta(seconds=60)).train
    pushed = after(state, TriggerKind.CODE)
    assert decide(config, pushed, facts, T0 + HOUR + timedelta(seconds=30)).trigger is TriggerKind.CODE


def test_what_comes_during_a_training_is_answered_after_it():
    state = started(after(EMPTY, TriggerKind.DATA), "run-1", T0)
    state = after(state, TriggerKind.CODE, at=T0)
    assert decide(CONFIG, state, Facts(), T0 + 7 * HOUR).rule == "single flight"
    state = ended(state, Ending.READY)
    assert decide(CONFIG, state, Facts(), T0 + 7 * HOUR).trigger is TriggerKind.CODE


def test_the_same_decision_is_recognised_so_that_it_is_put_on_record_once():
    state = after(ran(EMPTY, T0), TriggerKind.CODE)
    first = decide(CONFIG, state, Facts(), T0 + HOUR)
    assert decide(CONFIG, state, Facts(new_rows=3), T0 + 2 * HOUR).same(first)
    assert not decide(CONFIG, state, Facts(new_rows=3), T0 + 7 * HOUR).same(first)
    assert not first.same(None)


def drifting(
    state: GovernorState, days: int, ending: Ending, version: int = 0
) -> tuple[GovernorState, list[datetime], int]:
    """Drift is seen every hour, and new rows come: when it trained, and how often the guard said no."""
    config = replace(CONFIG, cooldown=timedelta(0), budget=Budget(100))
    starts, guarded = [], 0
    for hour in range(24 * days):
        now = T0 + hour * HOUR
        state = noticed(
            state, Trigger(TriggerKind.DRIFT, now - timedelta(minutes=5), "risk moved away", version=version)
        )
        decision = decide(config, state, Facts(new_rows=1000), now)
        guarded += decision.rule == "loop guard"
        if decision.train:
            starts.append(now)
            state = ended(started(state, "run", now), ending, version)
    return state, starts, guarded


@pytest.mark.parametrize("ending", [Ending.READY, Ending.REFUSED])
def test_drift_that_no_training_cures_ends_in_three_trainings_and_ever_fewer(ending):
    state, starts, guarded = drifting(EMPTY, 20, ending, version=1)
    assert len([start for start in starts if start < T0 + DAY]) == GUARD
    waits = [round((later - start) / DAY) for start, later in zip(starts[GUARD - 1 :], starts[GUARD:], strict=False)]
    assert waits == [1, 2, 4, 7]
    assert guarded > 300
    now = T0 + 20 * DAY
    said = decide(CONFIG, state, Facts(new_rows=1000), now)
    assert said.rule == "loop guard"
    assert "retraining does not help: after each of the last 7 trainings" in said.reason
    assert "(risk moved away)" in said.reason
    # Rows that would train anyway still do; code, a person and new kinds of data lift it.
    assert decide(CONFIG, after(state, TriggerKind.DATA, at=now - HOUR), Facts(new_rows=60_000), now).train
    for kind in (TriggerKind.CODE, TriggerKind.MANUAL):
        assert started(after(state, kind, at=now), "run", now).vain == 0
    assert decide(CONFIG, lifted(state), Facts(new_rows=1000), now).rule != "loop guard"


def test_a_signal_of_an_older_version_or_one_that_comes_much_later_does_not_count_as_a_relapse():
    state = ended(started(after(EMPTY, TriggerKind.DRIFT), "run", T0), Ending.READY, 2)
    assert noticed(state, Trigger(TriggerKind.DRIFT, T0 + HOUR, version=1)).vain == 0
    assert noticed(state, Trigger(TriggerKind.DRIFT, T0 + HOUR, version=2)).vain == 1
    assert noticed(state, Trigger(TriggerKind.DRIFT, T0 + 8 * DAY, version=2)).vain == 0
    assert noticed(state, Trigger(TriggerKind.DECAY, T0 + HOUR, version=2)).vain == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "0.5s"), (90, "1m30s"), (21600, "6h"), (90061, "1d1h1m1s"), (86400, "1d")]
)
def test_spans_read_as_in_the_configuration(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


moves = st.lists(
    st.one_of(
        st.tuples(st.just("trigger"), st.sampled_from([k for k in TriggerKind if k is not TriggerKind.MANUAL])),
        st.tuples(st.just("pass"), st.integers(1, 20_000)),
        st.tuples(st.just("end"), st.sampled_from(list(Ending))),
        st.tuples(st.just("rows"), st.integers(0, 40)),
        st.tuples(st.just("fault"), st.booleans()),
    ),
    max_size=60,
)


@given(moves, st.integers(0, 4), st.integers(0, 8), st.integers(0, 30), st.booleans())
def test_in_any_history_it_never_trains_twice_at_once_nor_over_budget_nor_within_the_cooldown(
    history, budget, cooldown, min_rows, schedule
):
    config = RetrainConfig(
        on=tuple(kind.value for kind in TriggerKind),
        schedule="* * * * *" if schedule else None,
        min_new_rows=min_rows,
        cooldown=cooldown * HOUR,
        debounce=timedelta(seconds=30),
        budget=Budget(budget),
    )
    state, now, rows, starts, running = EMPTY, T0, 0, [], 0
    for what, value in history:
        if what == "trigger":
            state = noticed(state, Trigger(value, now))
        elif what == "pass":
            now += timedelta(seconds=value)
        elif what == "rows":
            rows += value
        elif what == "fault":
            state = faulted(state, "nulls", now) if value else sound(state)
        elif running:
            state, running = ended(state, value), 0
        facts = Facts(new_rows=rows, in_flight="run" if running else "", due=schedule)
        decision = decide(config, state, facts, now)
        assert decision == decide(config, state, facts, now)
        assert decision.reason.startswith("retrains because " if decision.train else "did not retrain because ")
        if state.pending and not decision.train:
            assert decision.rule != "pending"  # a trigger is answered, or what it waits for is said
        assert decision.wait_until is None or (decision.wait_until > now and not decision.train)
        if decision.train:
            running += 1
            assert running == 1
            assert not starts or now - starts[-1] >= config.cooldown
            starts.append(now)
            assert sum(now - start < DAY for start in starts) <= budget
            if decision.trigger is TriggerKind.DATA:
                assert rows >= max(min_rows, 1)
            state, rows = started(state, "run", now), 0
