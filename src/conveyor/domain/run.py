"""Runs and their steps: a run is a row whose state is data; `advance` is the whole state machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


DONE = frozenset({StepState.SUCCEEDED, StepState.CACHED})
ENDED = frozenset({StepState.SUCCEEDED, StepState.CACHED, StepState.FAILED, StepState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    needs: tuple[str, ...] = ()
    timeout: timedelta = timedelta(hours=1)
    retries: int = 0
    cpus: int = 0  # that it keeps busy; 0: it is counted by the kind of its run
    memory_mb: int = 0  # that it may use; 0: not limited
    state: StepState = StepState.PENDING
    attempt: int = 0
    key: str | None = None  # digest of everything the outputs depend on; None: never cached
    outputs: dict[str, str] = field(default_factory=dict)  # file name -> BLAKE3 digest
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    project: str
    kind: str  # run | build | ingest | train | reproduce | migrate
    subject: str
    params: dict[str, Any]
    steps: tuple[Step, ...]
    created: datetime
    state: RunState = RunState.RUNNING
    reason: str = ""
    cancel: str = ""  # why, once asked for
    ended: datetime | None = None
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def with_step(self, step: Step) -> Run:
        return replace(self, steps=tuple(step if old.name == step.name else old for old in self.steps))

    @property
    def ended_steps(self) -> bool:
        return all(step.state in ENDED for step in self.steps)


class JobStatus(StrEnum):
    ABSENT = "absent"  # never claimed: safe to start, even twice, since only one can claim
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # claimed, its process is gone, no result


@dataclass(frozen=True, slots=True)
class JobResult:
    exit_code: int
    timed_out: bool = False
    cancelled: bool = False
    error: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSeen:
    status: JobStatus
    result: JobResult | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    run: Run
    ready: tuple[str, ...] = ()  # steps to prepare and start
    restart: tuple[str, ...] = ()  # persisted as running but never claimed: start again
    cancel: tuple[str, ...] = ()  # jobs to end
    lost: tuple[str, ...] = ()
    end: tuple[str, ...] = ()  # jobs to kill: they outlived their timeout and whoever should have kept it


OVERDUE = timedelta(minutes=1)
"""A job keeps its own timeout. One that is still not over so long after it is stuck, or can never be claimed."""


def advance(run: Run, seen: dict[str, JobSeen], now: datetime) -> Advance:
    """One turn of a run. `seen` has what was observed of every step that is persisted as running."""
    restart: list[str] = []
    cancel: list[str] = []
    lost: list[str] = []
    end: list[str] = []
    for step in run.steps:
        if step.state is not StepState.RUNNING:
            continue
        job = seen[step.name]
        overdue = step.started is not None and now - step.started >= step.timeout + OVERDUE
        if job.status is JobStatus.FINISHED and job.result is not None:
            run = run.with_step(_after(step, job.result, now))
        elif job.status is JobStatus.LOST:
            lost.append(step.name)
            run = run.with_step(_retry_or_fail(step, "its process vanished without a result", now, spare=1))
        elif run.cancel or any(other.state is StepState.FAILED for other in run.steps):
            if job.status is JobStatus.ABSENT:
                run = run.with_step(replace(step, state=StepState.CANCELLED, ended=now))
            else:
                cancel.append(step.name)
        elif job.status is JobStatus.ABSENT and overdue:
            cancel.append(step.name)  # so that nobody claims it any more
            run = run.with_step(replace(step, state=StepState.FAILED, ended=now, error="it could never be started"))
        elif job.status is JobStatus.ABSENT:
            restart.append(step.name)
        if job.status is JobStatus.RUNNING and overdue:
            end.append(step.name)
    failed = [step for step in run.steps if step.state is StepState.FAILED]
    if run.cancel or failed:
        for step in run.steps:
            if step.state is StepState.PENDING:
                run = run.with_step(replace(step, state=StepState.CANCELLED, ended=now))
    if run.ended_steps:
        run = _ended(run, failed, now)
    return Advance(run, ready(run), tuple(restart), tuple(cancel), tuple(lost), tuple(end))


def ready(run: Run) -> tuple[str, ...]:
    """The steps that wait for nothing any more."""
    done = {step.name for step in run.steps if step.state in DONE}
    return tuple(step.name for step in run.steps if step.state is StepState.PENDING and done.issuperset(step.needs))


def fits(step: Step, running: Iterable[Step], cpus: int, memory_mb: int) -> bool:
    """Whether it may run beside those; one that asks for more than there is runs alone."""
    others = [other for other in running if other.cpus]
    if not others:
        return True
    return (
        step.cpus + sum(other.cpus for other in others) <= cpus
        and step.memory_mb + sum(other.memory_mb for other in others) <= memory_mb
    )


def _after(step: Step, result: JobResult, now: datetime) -> Step:
    if result.cancelled:
        return replace(step, state=StepState.CANCELLED, ended=now, error=result.error)
    if result.exit_code == 0 and not result.timed_out:
        return replace(step, state=StepState.SUCCEEDED, ended=now, outputs=result.outputs, error="")
    if result.timed_out:
        return _retry_or_fail(step, f"timed out after {step.timeout.total_seconds():g} s", now)
    return _retry_or_fail(step, result.error or f"exit code {result.exit_code}", now)


def _retry_or_fail(step: Step, error: str, now: datetime, spare: int = 0) -> Step:
    """Another attempt while retries are left; a lost process has one to spare: the fault was not the user's."""
    if step.attempt < 1 + step.retries + spare:
        return replace(step, state=StepState.PENDING, error=error)
    return replace(step, state=StepState.FAILED, ended=now, error=error)


def _ended(run: Run, failed: list[Step], now: datetime) -> Run:
    if failed:
        error = "; ".join(f"{step.name}: {step.error}" for step in failed)
        return replace(run, state=RunState.FAILED, ended=now, error=error)
    if all(step.state in DONE for step in run.steps):
        return replace(run, state=RunState.SUCCEEDED, ended=now)
    return replace(run, state=RunState.CANCELLED, ended=now, error=run.cancel)
