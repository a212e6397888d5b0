"""`advance` under arbitrary observations: a run ends, and no step is ever asked to run while its job may still live."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.run import (
    DONE,
    ENDED,
    OVERDUE,
    JobResult,
    JobSeen,
    JobStatus,
    Run,
    RunState,
    Step,
    StepState,
    advance,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 200  # turns; far more than any of these runs may need
OUTCOMES = ("succeeds", "fails", "times out", "vanishes")


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Up to five steps; each needs some of those before it."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 5))):
        needs = [step.name for step in steps if draw(st.booleans())]
        steps.append(Step(f"s{number}", needs=tuple(needs), retries=draw(st.integers(0, 2))))
    return Run("r", "p", "train", "p/m", {}, tuple(steps), NOW)


class World:
    """Jobs as the system outside has them: one process for each step, unless `advance` asks for a second one."""

    def __init__(self, draw: st.DataObject) -> None:
        self._draw = draw
        self.alive: set[str] = set()
        self.results: dict[str, JobResult] = {}
        self.lost: set[str] = set()
        self.starts: dict[str, int] = {}
        self.tame = False  # from then on what is started is claimed, and ends well

    def see(self, run: Run) -> dict[str, JobSeen]:
        return {step.name: self._one(step.name) for step in run.steps if step.state is StepState.RUNNING}

    def _one(self, name: str) -> JobSeen:
        if name in self.results:
            return JobSeen(JobStatus.FINISHED, self.results[name])
        if name in self.lost:
            return JobSeen(JobStatus.LOST)
        return JobSeen(JobStatus.RUNNING if name in self.alive else JobStatus.ABSENT)

    def start(self, name: str) -> None:
        assert name not in self.alive, f"{name} was started while it ran"
        self.results.pop(name, None)
        self.lost.discard(name)
        # One start in four is lost before it is claimed: a crash between the two.
        if self.tame or self._draw.draw(st.integers(0, 3)):
            self.alive.add(name)
            self.starts[name] = self.starts.get(name, 0) + 1

    def work(self, cancelled: tuple[str, ...]) -> None:
        for name in sorted(self.alive):
            if name in cancelled:
                self._end(name, JobResult(-15, cancelled=True, error="cancelled"))
            elif self.tame:
                self._end(name, JobResult(0))
            elif self._draw.draw(st.booleans()):
                outcome = self._draw.draw(st.sampled_from(OUTCOMES))
                if outcome == "vanishes":
                    self.alive.remove(name)
                    self.lost.add(name)
                else:
                    self._end(name, JobResult(int(outcome != "succeeds"), timed_out=outcome == "times out"))

    def _end(self, name: str, result: JobResult) -> None:
        self.alive.remove(name)
        self.results[name] = result


def _persist(run: Run, world: World, ready: tuple[str, ...], restart: tuple[str, ...]) -> Run:
    for name in ready:
        step = run.step(name)
        assert step.state is StepState.PENDING
        assert all(run.step(need).state in DONE for need in step.needs)
        run = run.with_step(replace(step, state=StepState.RUNNING, attempt=step.attempt + 1, started=NOW))
        world.start(name)
    for name in restart:
        world.start(name)
    return run


@settings(max_examples=200, deadline=None)
@given(run=runs(), data=st.data(), cancel_at=st.one_of(st.none(), st.integers(0, 10)))
def test_a_run_ends_and_never_runs_a_step_twice_at_once(run: Run, data: st.DataObject, cancel_at: int | None) -> None:
    world, now, asked = World(data), NOW, False
    for turn in range(LIMIT):
        world.tame = turn >= 30
        if turn == cancel_at:
            run, asked = replace(run, cancel="enough"), True
        turned = advance(run, world.see(run), now)
        assert not set(turned.ready) & set(turned.restart)
        if asked:
            assert not turned.ready
            assert not turned.restart
        run = _persist(turned.run, world, turned.ready, turned.restart)
        if run.state is not RunState.RUNNING:
            break
        world.work(turned.cancel)
        now += timedelta(seconds=1)
    states = {step.state for step in run.steps}
    assert run.state is not RunState.RUNNING
    assert run.ended is not None
    assert states <= ENDED
    assert not world.alive
    assert (run.state is RunState.SUCCEEDED) == (states <= DONE)
    assert all(world.starts.get(step.name, 0) <= 2 + step.retries for step in run.steps)
    if run.state is RunState.FAILED:
        assert any(step.name in run.error for step in run.steps if step.state is StepState.FAILED)
    if run.state is RunState.CANCELLED:
        assert run.error == "enough"


@given(run=runs())
def test_a_run_of_which_all_succeeds_has_each_step_run_once_in_order(run: Run) -> None:
    order: list[str] = []
    while run.state is RunState.RUNNING:
        seen = {s.name: JobSeen(JobStatus.FINISHED, JobResult(0)) for s in run.steps if s.state is StepState.RUNNING}
        turned = advance(run, seen, NOW)
        run = turned.run
        for name in turned.ready:
            order.append(name)
            run = run.with_step(replace(run.step(name), state=StepState.RUNNING, attempt=1))
    assert sorted(order) == [step.name for step in run.steps]
    assert all(order.index(need) < order.index(step.name) for step in run.steps for need in step.needs)
    assert run.state is RunState.SUCCEEDED


def test_a_failed_step_ends_what_runs_beside_it_and_what_waits_for_it() -> None:
    beside = Step("beside", state=StepState.RUNNING, attempt=1)
    failing = Step("failing", state=StepState.RUNNING, attempt=1)
    after = Step("after", needs=("failing",))
    run = Run("r", "p", "build", "c", {}, (beside, failing, after), NOW)
    seen = {
        "beside": JobSeen(JobStatus.RUNNING),
        "failing": JobSeen(JobStatus.FINISHED, JobResult(3, error="it said no")),
    }
    first = advance(run, seen, NOW)
    assert first.run.step("after").state is StepState.CANCELLED
    assert first.run.state is RunState.RUNNING
    second = advance(first.run, {"beside": JobSeen(JobStatus.RUNNING)}, NOW)
    assert second.cancel == ("beside",)
    ended = JobResult(-15, cancelled=True)
    last = advance(second.run, {"beside": JobSeen(JobStatus.FINISHED, ended)}, NOW).run
    assert last.state is RunState.FAILED
    assert last.error == "failing: it said no"


def test_a_job_that_outlives_its_timeout_is_ended_and_one_that_nobody_claims_fails() -> None:
    late = NOW + timedelta(hours=1) + OVERDUE
    running = Step("a", state=StepState.RUNNING, started=NOW, attempt=1)
    run = Run("r", "p", "train", "p/m", {}, (running,), NOW)
    for status, in_time, overdue in (
        (JobStatus.RUNNING, ((), ()), (("a",), ())),
        (JobStatus.ABSENT, ((), ("a",)), ((), ())),
    ):
        seen = {"a": JobSeen(status)}
        early = advance(run, seen, late - timedelta(seconds=1))
        assert (early.end, early.restart) == in_time
        turn = advance(run, seen, late)
        assert (turn.end, turn.restart) == overdue
    assert turn.cancel == ("a",)
    assert turn.run.state is RunState.FAILED
    assert "never be started" in turn.run.error
