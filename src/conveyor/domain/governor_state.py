"""What the governor knows and remembers of a model, and how that changes. Pure; `governor.decide` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

DAY = timedelta(hours=24)
RELAPSE = timedelta(days=7)
"""A signal that comes again so soon after the training that answered it was not cured by it."""


class TriggerKind(StrEnum):
    """In order of who is named first when one training answers several."""

    MANUAL = "manual"
    CODE = "code"
    DECAY = "decay"
    ESTIMATED_DECAY = "estimated_decay"
    DRIFT = "drift"
    DATA = "data"
    SCHEDULE = "schedule"


BY_SIGNAL = frozenset({TriggerKind.DRIFT, TriggerKind.DECAY, TriggerKind.ESTIMATED_DECAY})
LIFTING = frozenset({TriggerKind.CODE, TriggerKind.MANUAL})


@dataclass(frozen=True, slots=True)
class Trigger:
    """A cause to retrain that no training has answered yet: seen first at `since`, most recently at `latest`."""

    kind: TriggerKind
    since: datetime
    detail: str = ""  # continues "because": "TERMINAL_RISK drifted (PSI 0.61) in window 12 of version 3"
    latest: datetime | None = None
    version: int | None = None  # of the model, that a signal is about

    @property
    def newest(self) -> datetime:
        return self.latest or self.since


class Ending(StrEnum):
    READY = "ready"  # a version passed its gates
    REFUSED = "refused"  # a gate said no
    FAILED = "failed"  # the run itself failed
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What the governor remembers of one model between decisions; changed only by the functions below."""

    id: str  # project/model
    project: str
    pending: tuple[Trigger, ...] = ()
    answering: tuple[Trigger, ...] = ()  # of the training in flight
    running: str = ""  # its run
    starts: tuple[datetime, ...] = ()  # of the last 24 hours, and always the last one
    fruitless: int = 0  # candidates refused in a row
    failures: int = 0  # trainings failed in a row
    fault: str = ""  # the data fault that holds, as a clause
    fault_since: datetime | None = None
    cured: tuple[TriggerKind, ...] = ()  # signals that the last training answered, and that have not come again
    made: int = 0  # the version that it made, if that passed its gates
    vain: int = 0  # trainings in a row after which a signal came again
    gave_up: bool = False  # that retraining does not help has been told


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so right now, read from the stores."""

    new_rows: int = 0  # labelled rows since the last training; all of them before the first
    since_version: int | None = None  # the last version trained
    in_flight: str = ""  # the run that trains this model now
    due: bool = False  # a tick of `schedule` has passed since it was last honoured; missed ticks count as one
    short: str = ""  # why the labelled history cannot be trained on yet, as a clause


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` is the one that decided, "train" if none stopped it. `wait_until` is when a rule of time will let go."""

    train: bool
    rule: str
    reason: str
    trigger: TriggerKind | None = None
    wait_until: datetime | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def same(self, other: Decision | None) -> bool:
        """Nothing new to put on record: the same rule holds the same trigger until the same time."""
        mine = (self.train, self.rule, self.trigger, self.wait_until)
        return other is not None and mine == (other.train, other.rule, other.trigger, other.wait_until)


@dataclass(frozen=True, slots=True)
class GovernorRecord:
    """A model's governor as it is kept: state, last decision, and the last tick of the schedule that was honoured."""

    state: GovernorState
    last: Decision | None = None
    ticked: datetime | None = None

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def project(self) -> str:
        return self.state.project


def noticed(state: GovernorState, trigger: Trigger) -> GovernorState:
    """A trigger is pending until a training answers it; one more of its kind only renews it.

    A signal that comes again within RELAPSE of the training that answered it tells that the training was in vain; one
    about an older version than that training made tells nothing.
    """
    if trigger.kind in state.cured and not state.running and _relapse(state, trigger):
        state = replace(state, vain=state.vain + 1, cured=())
    old = next((known for known in state.pending if known.kind is trigger.kind), None)
    if old is None:
        return replace(state, pending=(*state.pending, trigger))
    renewed = replace(old, detail=trigger.detail or old.detail, latest=max(old.newest, trigger.newest))
    return replace(state, pending=tuple(renewed if known is old else known for known in state.pending))


def started(state: GovernorState, run: str, now: datetime) -> GovernorState:
    """One training answers all that is pending. Code, and a person's request, may be the mend: they lift the guard."""
    kinds = {trigger.kind for trigger in state.pending}
    if kinds & LIFTING:
        state = lifted(state)
    cured = tuple(sorted(kinds & BY_SIGNAL))
    starts = (*(start for start in state.starts if now - start < DAY), now)
    return replace(state, pending=(), answering=state.pending, running=run, starts=starts, cured=cured, made=0)


def lifted(state: GovernorState) -> GovernorState:
    """Something is new: code, the kinds of data, a person's wish. Retraining may help again."""
    return replace(state, vain=0, cured=(), gave_up=False)


def ended(state: GovernorState, ending: Ending, version: int = 0) -> GovernorState:
    """The training ended. One that failed leaves data, drift and decay unanswered: they pend again, under backoff."""
    answered, state = state.answering, replace(state, answering=(), running="")
    if ending is Ending.READY:
        return replace(state, fruitless=0, failures=0, made=version)
    if ending is Ending.REFUSED:
        return replace(state, fruitless=state.fruitless + 1, failures=0)
    if ending is Ending.CANCELLED:
        return replace(state, cured=())
    state = replace(state, failures=state.failures + 1, cured=())
    for trigger in answered:
        if trigger.kind in BY_SIGNAL or trigger.kind is TriggerKind.DATA:
            state = noticed(state, trigger)
    return state


def faulted(state: GovernorState, why: str, now: datetime) -> GovernorState:
    """Served data are faulty: `why` is a clause, such as "amount is null in 12 % of window 7"."""
    return replace(state, fault=why, fault_since=state.fault_since or now)


def sound(state: GovernorState) -> GovernorState:
    """A later window showed no fault."""
    return replace(state, fault="", fault_since=None)


def _relapse(state: GovernorState, trigger: Trigger) -> bool:
    current = trigger.version is None or trigger.version >= state.made
    return current and bool(state.starts) and trigger.newest - state.starts[-1] <= RELAPSE
