"""The controller of sweeps: observes their runs, asks for params, starts trials, gives up what cannot win."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery import sampling, train, trials
from conveyor.delivery.files import Files
from conveyor.delivery.inputs import sources_of
from conveyor.domain.run import Run, RunState
from conveyor.domain.sweep import OPEN, PRUNED, Seen, Sweep, SweepState, Trial, TrialState, Turn, advance
from conveyor.engine.context import Context
from conveyor.stores.collections import BUILDS, RUNS, SWEEPS
from conveyor.stores.records import Transaction

_EVERY = 0.25


class Sweeps:
    name = "sweeps"

    def __init__(self, context: Context, recipe: trials.TrialRecipe, files: Files) -> None:
        self._files = files
        self._context = context
        self._recipe = recipe
        self._seen = -1

    def turn(self) -> float:
        revision = self._context.records.revision
        with self._context.records.read() as tx:
            if revision == self._seen:
                return _EVERY
            found = [each for state in OPEN for each in tx.find(SWEEPS, where={"state": state}, limit=1000)]
        for sweep in found:
            if sweep.data:
                self._turn(sweep)
            else:
                self._pin(sweep)
        self._seen = -1 if found else revision
        return _EVERY

    def _pin(self, sweep: Sweep) -> None:
        """The versions of the data that all trials see: those of now."""
        with self._context.transaction() as tx:
            build = tx.need(BUILDS, sweep.build)
            needed = sources_of(build.config, build.config.models[sweep.config.model].inputs)
            found = {one.key: self._files.find(tx, build, one) for one in needed}
            data = {key: version.version for key, version in found.items() if version is not None}
            lacking = [key for key in found if key not in data]
            if lacking:
                error, now = f"dataset {lacking[0]} has nothing in it yet", self._context.clock.now()
                ended = replace(sweep, state=SweepState.FAILED, ended=now, error=error)
                self._put(tx, sweep, ended)
            else:
                tx.put(SWEEPS, replace(tx.need(SWEEPS, sweep.id), data=data))

    def _turn(self, sweep: Sweep) -> None:
        """Observes, decides and writes all of it in one transaction; runs are started by their own controller."""
        with self._context.records.read() as tx:
            runs = {run.id: run for id_ in _waited_for(sweep) if (run := tx.get(RUNS, id_))}
        seen = {id_: self._observe(sweep, runs.get(id_)) for id_ in _waited_for(sweep)}
        turn = advance(sweep, seen, self._context.clock.now())
        begun = self._begin(turn)
        doomed = [each for each in begun.trials if each.state is TrialState.RUNNING and sampling.prune(begun, each)]
        if begun == sweep and not turn.cancel and not doomed and not turn.train:
            return
        with self._context.transaction() as tx:
            current = tx.need(SWEEPS, sweep.id)
            if current != sweep:
                return  # somebody cancelled it meanwhile; the next turn decides on that
            self._write(tx, sweep, begun, turn, doomed)

    def _begin(self, turn: Turn) -> Sweep:
        """The sweep with the new trials, each drawn after the one before."""
        sweep = turn.sweep
        for number in turn.start:
            trial = Trial(number, sampling.suggest(sweep, number), self._context.new_id())
            sweep = replace(sweep, trials=(*sweep.trials, trial))
        return sweep

    def _write(self, tx: Transaction, before: Sweep, sweep: Sweep, turn: Turn, doomed: list[Trial]) -> None:
        context = self._context
        now = context.clock.now()
        build = tx.need(BUILDS, sweep.build)
        for number in turn.start:
            trial = sweep.trials[number]
            self._start(tx, trials.new_run(trial.run, build, sweep, number, trial.params, now))
        for trial in doomed:
            step, value = trial.reported[-1]
            self._cancel(tx, trial.run, f"{PRUNED}{value:g} at step {step} is behind the others")
        for id_ in turn.cancel:
            self._cancel(tx, id_, sweep.cancel)
        if turn.train and (best := sweep.best) is not None:
            model = build.config.models[sweep.config.model]
            reason = f"the best of {len(sweep.trials)} trials of sweep {sweep.id}: trial {best.number}"
            run = train.new_run(context.new_id(), build, model, sweep.data, "sweep", reason, now)
            run = replace(run, params={**run.params, "given": best.params, "sweep": sweep.id, "trial": best.number})
            self._start(tx, run)
            sweep = replace(sweep, state=SweepState.TRAINING, run=run.id)
        self._put(tx, before, sweep)

    def _put(self, tx: Transaction, before: Sweep, sweep: Sweep) -> None:
        context = self._context
        tx.put(SWEEPS, sweep)
        if sweep.state is not before.state and sweep.state not in OPEN:
            best = sweep.best
            tx.append(
                context.event(
                    "sweep.ended",
                    f"sweep/{sweep.id}",
                    sweep.project,
                    state=sweep.state,
                    version=sweep.version,
                    params=best.params if best else {},
                    value=best.value if best else None,
                    error=sweep.error,
                )
            )

    def _start(self, tx: Transaction, run: Run) -> None:
        tx.put(RUNS, run)
        event = self._context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject)
        tx.append(event)

    def _cancel(self, tx: Transaction, id_: str, why: str) -> None:
        run = tx.need(RUNS, id_)
        if run.state is RunState.RUNNING and not run.cancel:
            tx.put(RUNS, replace(run, cancel=why))

    def _observe(self, sweep: Sweep, run: Run | None) -> Seen:
        if run is None:
            return Seen(RunState.FAILED, error="its run is gone")
        reported = self._recipe.reported(run) if sweep.config.pruner != "none" and run.kind == trials.KIND else ()
        return Seen(run.state, run.result, run.error, reported)


def _waited_for(sweep: Sweep) -> list[str]:
    if sweep.state is SweepState.TRAINING:
        return [sweep.run]
    return [each.run for each in sweep.trials if each.state is TrialState.RUNNING]
