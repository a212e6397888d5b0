"""The governor: whether to retrain, and the reason on record, also for not retraining. Pure.

Rules, in order; the first that stops is the reason given:

1. single flight   never two trainings of a model at once
2. manual          a person's request passes every rule but single flight
3. pending         no trigger that `retrain.on` names (or the schedule) is waiting
4. debounce        the newest trigger is younger than `debounce`; more may follow, and one training answers all of them.
                   A stream of triggers is not waited for longer than PATIENCE times `debounce`
5. cooldown        less than `cooldown` has passed since the last training started
6. budget          `budget.runs_per_day` trainings started in the last 24 hours
7. short           there is not enough labelled history yet for a window and a holdout

Then each trigger by itself; one that may go is enough:

8. data fault      served data are faulty: all triggers but code wait, for HOLD at the most
9. new rows        data needs `min_new_rows` new labelled rows (one at least); drift and decay need one, because without
                   new labels the same model would come out; code and schedule need none
10. loop guard     the last GUARD trainings that answered a signal were each followed by one again: retraining does not
                   help. Signals wait GUARD_MIN for another, twice as long each time, up to
                   GUARD_MAX, until code, new kinds of data or a person lift it
11. backoff        after failed trainings in a row, or FRUITLESS candidates refused in a row (drift and decay only:
                   their signal would ask again at once), the wait doubles each time, up to BACKOFF_MAX; code never
                   waits, since a push may be the mend
"""

from __future__ import annotations

from datetime import datetime, timedelta

from conveyor.domain.governor_state import BY_SIGNAL, DAY, Decision, Facts, GovernorState, Trigger, TriggerKind
from conveyor.domain.project import ModelConfig, RetrainConfig

PATIENCE = 10
HOLD = timedelta(hours=24)
FRUITLESS = 2
BACKOFF_MIN = timedelta(minutes=1)
BACKOFF_MAX = timedelta(hours=24)
GUARD = 3
GUARD_MIN = timedelta(days=1)
GUARD_MAX = timedelta(days=7)
ENOUGH = 0.95
"""Of the span that a first training needs; a day's last row is never at midnight."""

_ORDER = {kind: place for place, kind in enumerate(TriggerKind)}
_HELD_BY_FAULT = BY_SIGNAL | {TriggerKind.DATA, TriggerKind.SCHEDULE}


def decide(config: RetrainConfig, state: GovernorState, facts: Facts, now: datetime) -> Decision:
    """Whether to start a training now. When it says so, start the run and persist `started(...)` in one transaction."""
    waiting = relevant(config, state, facts, now)
    figures = {"new_rows": float(facts.new_rows), "pending": float(len(waiting))}
    first = waiting[0].kind if waiting else None
    run = facts.in_flight or state.running
    if run and waiting:
        return _no(
            "single flight", f"{run} is still training; {_names(waiting)} will be answered after it", first, figures
        )
    if first is TriggerKind.MANUAL:
        return _yes(config, waiting, facts, figures)
    if not waiting:
        return _no("pending", "nothing has changed that it is told to act on", None, figures)
    stopped = _debounce(config, waiting, now) or _cooldown(config, state, now) or _budget(config, state, now)
    if stopped is None and facts.short:
        stopped = ("short", facts.short, None)
    if stopped:
        return _no(stopped[0], stopped[1], first, figures, stopped[2])
    held = [(trigger, _held(config, trigger, state, facts, now)) for trigger in waiting]
    going = tuple(trigger for trigger, why in held if why is None)
    if going:
        return _yes(config, going, facts, figures)
    rule, why, until = next(why for _, why in held if why is not None)
    return _no(rule, why, first, figures, until)


def relevant(config: RetrainConfig, state: GovernorState, facts: Facts, now: datetime) -> tuple[Trigger, ...]:
    """The pending triggers that count, the most telling first; the schedule's tick among them when due."""
    wanted = {*config.on, TriggerKind.MANUAL}
    found = [trigger for trigger in state.pending if trigger.kind in wanted]
    if facts.due and config.schedule:
        # A tick is not debounced: nothing follows it.
        found.append(Trigger(TriggerKind.SCHEDULE, now - config.debounce, f"the schedule {config.schedule!r} is due"))
    return tuple(sorted(found, key=lambda trigger: _ORDER[trigger.kind]))


# --- rules: None, or (rule, why as a clause, until when)

Stop = tuple[str, str, datetime | None]


def _debounce(config: RetrainConfig, waiting: tuple[Trigger, ...], now: datetime) -> Stop | None:
    quiet = max(trigger.newest for trigger in waiting) + config.debounce
    patience = min(trigger.since for trigger in waiting) + PATIENCE * config.debounce
    until = min(quiet, patience)
    if now >= until:
        return None
    return "debounce", f"more may follow what just came; it waits until {_at(until)}", until


def _cooldown(config: RetrainConfig, state: GovernorState, now: datetime) -> Stop | None:
    if not state.starts or now >= state.starts[-1] + config.cooldown:
        return None
    until = state.starts[-1] + config.cooldown
    return "cooldown", f"the cooldown of {span(config.cooldown)} ends at {_at(until)}", until


def _budget(config: RetrainConfig, state: GovernorState, now: datetime) -> Stop | None:
    limit = config.budget.runs_per_day
    recent = sorted(start for start in state.starts if now - start < DAY)
    if len(recent) < limit:
        return None
    if limit <= 0:
        return "budget", "its budget is 0 trainings a day; raise retrain.budget.runs_per_day", None
    until = recent[len(recent) - limit] + DAY
    return "budget", f"its budget of {limit} trainings in 24h is spent until {_at(until)}", until


def _held(config: RetrainConfig, trigger: Trigger, state: GovernorState, facts: Facts, now: datetime) -> Stop | None:
    if state.fault and state.fault_since and trigger.kind in _HELD_BY_FAULT and now < state.fault_since + HOLD:
        until = state.fault_since + HOLD
        return (
            "data fault",
            f"served data are faulty ({_clause(state.fault)}); mend them, or it goes on at {_at(until)}",
            until,
        )
    needs = _needs(config, trigger)
    if facts.new_rows < needs:
        rows = f"{facts.new_rows:,} new labelled rows arrived{_since(facts)}"
        return "new rows", f"only {rows}; {trigger.kind} needs {needs:,}", None
    return _guard(trigger, state, now) or _backoff(config, trigger, state, now)


def _guard(trigger: Trigger, state: GovernorState, now: datetime) -> Stop | None:
    if trigger.kind not in BY_SIGNAL or state.vain < GUARD or not state.starts:
        return None
    until = state.starts[-1] + min(GUARD_MIN * 2 ** min(state.vain - GUARD, 20), GUARD_MAX)
    if now >= until:
        return None
    why = (
        f"retraining does not help: after each of the last {state.vain} trainings that answered it, a signal came "
        f"again ({_clause(trigger.detail) or _DEFAULT[trigger.kind]}). Code, new kinds of data or "
        f"`conveyor model retrain` lift this; without them it tries again at {_at(until)}"
    )
    return "loop guard", why, until


def _backoff(config: RetrainConfig, trigger: Trigger, state: GovernorState, now: datetime) -> Stop | None:
    if trigger.kind is TriggerKind.CODE or not state.starts:
        return None
    fruitless = state.fruitless - FRUITLESS + 1 if trigger.kind in BY_SIGNAL else 0
    times = max(state.failures, fruitless)
    if times <= 0:
        return None
    wait = min(max(config.cooldown, BACKOFF_MIN) * 2 ** min(times - 1, 20), BACKOFF_MAX)
    until = state.starts[-1] + wait
    if now >= until:
        return None
    what = "trainings failed" if state.failures >= fruitless else "candidates were refused by the gates"
    count = state.failures if state.failures >= fruitless else state.fruitless
    return "backoff", f"the last {count} {what}; it waits {span(wait)}, until {_at(until)}", until


def _needs(config: RetrainConfig, trigger: Trigger) -> int:
    if trigger.kind is TriggerKind.DATA:
        return max(config.min_new_rows, 1)
    return 1 if trigger.kind in BY_SIGNAL else 0


def short_of(model: ModelConfig, first: datetime | None, until: datetime | None) -> str:
    """Why the labelled history, from `first` to `until`, cannot be trained on yet: a first training needs at least as
    long a stretch to train on as it is scored on."""
    if until is None or first is None or model.holdout is None:
        return ""
    have, needs = until - first, model.gap + 2 * model.holdout
    if have >= needs * ENOUGH:
        return ""
    days = max(have, timedelta(0)).total_seconds() / 86400
    wanted = needs.total_seconds() / 86400
    return f"labels are known for {days:.1f} days only; a holdout and as much before it need {wanted:.1f}"


# --- sentences


def _yes(config: RetrainConfig, going: tuple[Trigger, ...], facts: Facts, figures: dict[str, float]) -> Decision:
    first, others = going[0], going[1:]
    if first.kind is TriggerKind.DATA:
        needed = _needs(config, first)
        why = f"{facts.new_rows:,} new labelled rows arrived{_since(facts)} (needs {needed:,})"
        figures = figures | {"needed": float(needed)}
    else:
        why = _clause(first.detail) or _DEFAULT[first.kind]
    also = f"; this also answers {_names(others)}" if others else ""
    return Decision(True, "train", f"retrains because {why}{also}", first.kind, None, figures)


def _no(
    rule: str, why: str, trigger: TriggerKind | None, figures: dict[str, float], until: datetime | None = None
) -> Decision:
    return Decision(False, rule, f"did not retrain because {why}", trigger, until, figures)


_DEFAULT = {
    TriggerKind.MANUAL: "a person asked for it",
    TriggerKind.CODE: "its code changed",
    TriggerKind.DECAY: "its quality decayed",
    TriggerKind.ESTIMATED_DECAY: "its quality is estimated to have decayed",
    TriggerKind.DRIFT: "its features drifted",
    TriggerKind.SCHEDULE: "its schedule is due",
}


def _clause(message: str) -> str:
    """The first sentence of a signal's message, to stand inside another: what is so, without the likely cause."""
    return message.partition(". ")[0].rstrip(".")


def _since(facts: Facts) -> str:
    return f" since version {facts.since_version}" if facts.since_version is not None else ""


def _names(triggers: tuple[Trigger, ...]) -> str:
    return ", ".join(trigger.kind for trigger in triggers)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def span(duration: timedelta) -> str:
    """A length of time as the configuration writes it: "6h", "1m30s"."""
    seconds = round(duration.total_seconds(), 3)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            parts.append(f"{int(seconds // size)}{unit}")
            seconds = round(seconds % size, 3)
    return "".join(parts) + (f"{seconds:g}s" if seconds or not parts else "")
