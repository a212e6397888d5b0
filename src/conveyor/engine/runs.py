"""The controller of runs: observes jobs, advances runs, starts what is ready. Steps are found again after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conveyor.domain import wire
from conveyor.domain.run import Advance, JobResult, JobSeen, JobStatus, Run, RunState, Step, StepState, advance, ready
from conveyor.domain.state import CachedStep
from conveyor.domain.step import StepError
from conveyor.effects import jobs
from conveyor.effects.files import write_atomic
from conveyor.engine import step_notes
from conveyor.engine.admission import Busy
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command, Recipe, job_dir
from conveyor.engine.step_notes import cached
from conveyor.errors import ConveyorError
from conveyor.stores.collections import RUNS, STEP_CACHE
from conveyor.stores.records import Transaction

_BUSY, _IDLE = 0.05, 0.1  # seconds between looks


class Runs:
    """Advances every open run by one turn."""

    name = "runs"

    def __init__(self, context: Context, recipes: Sequence[Recipe]) -> None:
        self._context = context
        self._recipes = {recipe.kind: recipe for recipe in recipes}
        self._seen = -1  # the records' revision when no run was open

    def turn(self) -> float:
        revision = self._context.records.revision
        if revision == self._seen:
            return _IDLE
        with self._context.records.read() as tx:
            open_runs = tx.find(RUNS, where={"state": RunState.RUNNING}, limit=1000, newest=False)
        busy = Busy()
        for run in open_runs:
            for step in run.steps:
                if step.state is StepState.RUNNING:
                    busy.add(run, step)
        for run in open_runs:
            self._turn(run, busy)
        self._seen = -1 if open_runs else revision
        return _BUSY if open_runs else _IDLE

    def _turn(self, run: Run, busy: Busy) -> None:
        context = self._context
        seen = {step.name: self._observe(run, step) for step in run.steps if step.state is StepState.RUNNING}
        turn = advance(run, seen, context.clock.now())
        starts: list[tuple[Step, Command]] = []
        moved, names = turn.run, turn.ready
        while names:
            before = moved
            for name in names:
                moved, start = self._ready(moved, name, busy)
                starts += [start] if start else []
            # What was there already opens the way for more at once.
            names = tuple(name for name in ready(moved) if name not in names) if moved != before else ()
        if moved != run:
            self._persist(run, moved, turn)
        for name in turn.restart:
            starts += self._again(moved, moved.step(name))
        for step, command in starts:
            self._start(moved, step, command)
        for name in turn.cancel:
            jobs.cancel(self.job_dir(moved, moved.step(name)))
        for name in turn.end:
            jobs.end(self.job_dir(moved, moved.step(name)))

    def _ready(self, run: Run, name: str, busy: Busy) -> tuple[Run, tuple[Step, Command] | None]:
        """The run with this step cached, running or failed; and what to start once that is persisted."""
        recipe = self._recipes[run.kind]
        if not busy.leaves_room(run, run.step(name), recipe.at_once):
            return run, None
        now = self._context.clock.now()
        step = replace(run.step(name), attempt=run.step(name).attempt + 1, started=now)
        try:
            command = recipe.prepare(run, step, self.job_dir(run, step))
        except Exception as error:  # whatever is wrong with one step must not keep its run open for ever
            message = (
                f"{error.message} {error.hint}" if isinstance(error, ConveyorError) else f"{error!r}; please report it"
            )
            message = message.strip()
            return run.with_step(replace(step, state=StepState.FAILED, ended=now, error=message)), None
        step = replace(step, key=command.key)
        kept = None if command.fresh else self._cached(command)
        if kept is not None or command.done:
            outputs = kept.outputs if kept else {}
            return run.with_step(replace(step, state=StepState.CACHED, ended=now, outputs=outputs)), None
        step = replace(step, state=StepState.RUNNING)
        busy.add(run, step)
        return run.with_step(step), (step, command)

    def _cached(self, command: Command) -> CachedStep | None:
        if command.key is None:
            return None
        with self._context.records.read() as tx:
            return cached(tx, self._context.objects, command.key, shared=command.shared)

    def _again(self, run: Run, step: Step) -> list[tuple[Step, Command]]:
        """A step that was persisted as running but never claimed: the crash came in between."""
        return [(step, self._recipes[run.kind].prepare(run, step, self.job_dir(run, step)))]

    def _persist(self, before: Run, run: Run, turn: Advance) -> None:
        context = self._context
        with context.transaction() as tx:
            current = tx.get(RUNS, run.id)
            if current is not None and current.cancel and not run.cancel:
                run = replace(run, cancel=current.cancel)
            for name in turn.lost:
                tx.append(context.event("step.lost", f"run/{run.id}", run.project, step=name))
            for step in run.steps:
                if step.state is StepState.SUCCEEDED and step.key and before.step(step.name).state is not step.state:
                    tx.put(STEP_CACHE, CachedStep(step.key, step.outputs, run.id))
                    if step.cpus:  # a step of the project: others may have the same
                        step_notes.write(context.objects, CachedStep(step.key, step.outputs, run.id))
            if run.state is not RunState.RUNNING:
                run = self._end(run, tx)
            tx.put(RUNS, run)
        if run.state is not RunState.RUNNING:
            shutil.rmtree(context.settings.work / run.id, ignore_errors=True)

    def _end(self, run: Run, tx: Transaction) -> Run:
        recipe = self._recipes[run.kind]
        if run.state is RunState.SUCCEEDED:
            run = recipe.complete(run, tx)
        if run.state is not RunState.SUCCEEDED:
            run = recipe.failed(run, tx) or run
        type_ = f"run.{run.state}"
        tx.append(
            self._context.event(
                type_,
                f"run/{run.id}",
                run.project,
                kind=run.kind,
                about=run.subject,
                error=run.error,
                result=run.result,
            )
        )
        return run

    def _start(self, run: Run, step: Step, command: Command) -> None:
        job_dir = self.job_dir(run, step)
        (job_dir / OUT).mkdir(parents=True, exist_ok=True)
        if command.spec:
            write_atomic(job_dir / SPEC, command.spec)
        log = self._context.settings.logs / "runs" / run.id / f"{step.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        job = jobs.Job(
            argv=command.argv,
            shell=command.shell,
            cwd=command.cwd or job_dir,
            env=command.env,
            timeout_seconds=step.timeout.total_seconds(),
            log=log,
            sealed=str(command.sealed or ""),
            memory_mb=step.memory_mb,
        )
        jobs.start(job_dir, job)

    def _observe(self, run: Run, step: Step) -> JobSeen:
        job_dir = self.job_dir(run, step)
        state = jobs.observe(job_dir)
        status = JobStatus(state.phase)
        if state.result is None:
            return JobSeen(status)
        ended = state.result
        error = "" if ended.ok else _explain(job_dir, ended)
        outputs = self._outputs(job_dir / OUT) if ended.ok else {}
        code = ended.exit_code if ended.exit_code is not None else 1
        return JobSeen(status, JobResult(code, ended.timed_out, ended.cancelled, error, outputs))

    def _outputs(self, folder: Path) -> dict[str, str]:
        """Every file that the step left, as an object."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): self._context.objects.put_file(path) for path in files}

    def job_dir(self, run: Run, step: Step) -> Path:
        return job_dir(self._context.settings, run, step)


def _explain(job_dir: Path, result: jobs.JobResult) -> str:
    """The error that the step wrote itself, when it did and was not ended for another reason."""
    if result.error:
        return result.error
    said = job_dir / OUT / "error.json"
    if not said.exists():
        return ""
    error = wire.from_json(said.read_bytes(), StepError)
    return f"{error.message} {error.hint}".strip()
