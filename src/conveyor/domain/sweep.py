"""Sweeps: many trainings of one model with other params each, to find the best. A sweep is a row whose state is data.

Trials are numbered and on record before their run begins; params are drawn from the records alone, so a sweep goes on
after a crash as if there had been none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from conveyor.domain.project import SweepConfig
from conveyor.domain.run import RunState


class TrialState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SweepState(StrEnum):
    RUNNING = "running"
    TRAINING = "training"  # all trials have ended; a version is trained with the best params
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (SweepState.RUNNING, SweepState.TRAINING)


@dataclass(frozen=True, slots=True)
class Trial:
    """`reported`: (step, value) as user code told it on the way."""

    number: int
    params: dict[str, Any]
    run: str
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    reported: tuple[tuple[int, float], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    id: str  # project/name@number
    project: str
    number: int
    config: SweepConfig
    build: str
    data: dict[str, int]  # dataset -> version that all trials see
    maximize: bool
    created: datetime
    state: SweepState = SweepState.RUNNING
    trials: tuple[Trial, ...] = ()
    cancel: str = ""
    run: str = ""  # the training with the best params
    version: int | None = None
    ended: datetime | None = None
    error: str = ""

    def with_trial(self, trial: Trial) -> Sweep:
        return replace(self, trials=tuple(trial if old.number == trial.number else old for old in self.trials))

    @property
    def best(self) -> Trial | None:
        """The first of the best."""
        ended = [each for each in self.trials if each.state is TrialState.SUCCEEDED and each.value is not None]
        return max(ended, key=lambda t: (self.sign * (t.value or 0.0), -t.number)) if ended else None

    @property
    def sign(self) -> int:
        return 1 if self.maximize else -1


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of a run of the sweep."""

    state: RunState
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    reported: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    sweep: Sweep
    start: tuple[int, ...] = ()  # numbers of the trials to begin
    train: bool = False  # begin the training with the best params
    cancel: tuple[str, ...] = ()  # runs to end


_ENDED = {
    RunState.SUCCEEDED: TrialState.SUCCEEDED,
    RunState.FAILED: TrialState.FAILED,
    RunState.CANCELLED: TrialState.CANCELLED,
}
PRUNED = "pruned: "


def advance(sweep: Sweep, seen: dict[str, Seen], now: datetime) -> Turn:
    """One turn. `seen` has what was observed of each run that the sweep waits for."""
    if sweep.state is SweepState.TRAINING:
        return _trained(sweep, seen[sweep.run], now)
    for trial in sweep.trials:
        if trial.state is TrialState.RUNNING:
            sweep = sweep.with_trial(_after(trial, seen[trial.run]))
    running = [each for each in sweep.trials if each.state is TrialState.RUNNING]
    if sweep.cancel:
        if not running:
            return Turn(replace(sweep, state=SweepState.CANCELLED, ended=now, error=sweep.cancel))
        return Turn(sweep, cancel=tuple(each.run for each in running))
    begun = len(sweep.trials)
    if begun < sweep.config.trials and not _hopeless(sweep):
        free = min(sweep.config.at_once - len(running), sweep.config.trials - begun)
        return Turn(sweep, start=tuple(range(begun, begun + max(0, free))))
    if running:
        return Turn(sweep)
    if sweep.best is None:
        why = next((each.error for each in sweep.trials if each.error), "no trial gave a value")
        return Turn(replace(sweep, state=SweepState.FAILED, ended=now, error=f"every trial failed: {why}"))
    return Turn(sweep, train=True)


def _after(trial: Trial, seen: Seen) -> Trial:
    trial = replace(trial, reported=seen.reported or trial.reported)
    if seen.state is RunState.RUNNING:
        return trial
    if seen.error.startswith(PRUNED):
        return replace(trial, state=TrialState.PRUNED, error=seen.error)
    value = seen.result.get("value")
    return replace(trial, state=_ENDED[seen.state], value=value, error=seen.error)


def _hopeless(sweep: Sweep) -> bool:
    """The first trials all failed: the next ones will too."""
    return len(sweep.trials) >= 3 and all(each.state is TrialState.FAILED for each in sweep.trials)


def _trained(sweep: Sweep, seen: Seen, now: datetime) -> Turn:
    if seen.state is RunState.RUNNING:
        return Turn(sweep, cancel=(sweep.run,) if sweep.cancel else ())
    if seen.state is RunState.SUCCEEDED:
        return Turn(
            replace(sweep, state=SweepState.SUCCEEDED, ended=now, version=seen.result.get("version"), error=seen.error)
        )
    state = SweepState.CANCELLED if sweep.cancel else SweepState.FAILED
    return Turn(replace(sweep, state=state, ended=now, error=seen.error))
