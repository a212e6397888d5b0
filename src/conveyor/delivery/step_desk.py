"""What a client may ask about a project's own steps: what would run and why, and running them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conveyor.delivery.collect import need_built
from conveyor.delivery.inputs import sources_of
from conveyor.delivery.lookup import latest_build, latest_data
from conveyor.delivery.project_steps import ProjectSteps
from conveyor.delivery.step_run import Planned, keep, new_run, plan
from conveyor.delivery.table_desk import resolve
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.plan import Decision, edges_of, order, with_params
from conveyor.domain.reference import parse
from conveyor.domain.release import Build
from conveyor.domain.requests import RunSteps
from conveyor.domain.run import Run, RunState
from conveyor.domain.source import Source
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import BUILDS, RUNS, STEP_PASTS
from conveyor.stores.records import Transaction

Find = Callable[[Transaction, Build, Source], DatasetVersion | None]


def find_table(tx: Transaction, build: Build, one: Source) -> DatasetVersion | None:
    """The version of a table that an input means now."""
    if not one.which:
        return latest_data(tx, build.project, one.name)
    try:
        return resolve(tx, build.project, parse(one.key))
    except NotFound:
        return None


class StepDesk:
    def __init__(self, context: Context, poke: Callable[[], None], find: Find) -> None:
        self._context = context
        self._poke = poke
        self._find = find
        self._steps = ProjectSteps(context)

    def plan(self, project: str, asked: RunSteps) -> list[Decision]:
        with self._context.records.read() as tx:
            return list(self._planned(tx, project, asked).decisions)

    def start(self, project: str, asked: RunSteps) -> Run:
        """A run in which nothing has to run is over when this returns."""
        context = self._context
        with context.records.read() as tx:
            planned = self._planned(tx, project, asked)
        run = planned.run
        about = {"kind": run.kind, "about": run.subject}
        with context.records.transaction() as tx:
            tx.put(RUNS, run)
            tx.append(context.event("run.started", f"run/{run.id}", project, **about))
            if run.state is not RunState.RUNNING:
                told = {**about, "error": "", "result": run.result}
                tx.append(context.event(f"run.{run.state}", f"run/{run.id}", project, **told))
                known = tx.get(STEP_PASTS, project)
                before = known.steps if known else {}
                ours = {step.name: planned.pasts[step.name] for step in run.steps if step.name in planned.pasts}
                keep(tx, project, before, {**before, **ours})
        if run.state is RunState.RUNNING:
            self._poke()
        return run

    def _planned(self, tx: Transaction, project: str, asked: RunSteps) -> Planned:
        build = self._build(tx, project, asked.commit)
        declared = build.config.steps
        if not declared:
            raise NotFound(f"project {project!r} has no steps", hint="Declare one: [step.NAME] in conveyor.toml.")
        wanted = tuple(dict.fromkeys(name.removeprefix("step.") for name in asked.steps))
        for name in wanted:
            if name not in declared:
                raise NotFound(f"there is no step {name!r}", hint=f"There are: {', '.join(declared)}.")
        need_built(self._context.settings, build)
        names = order(edges_of(declared), wanted)
        params = with_params(declared, asked.params, names) if asked.params else {}
        given = {name: values for name, values in params.items() if values != declared[name].params}
        inputs = tuple(f"step.{name}" for name in names)
        found = {one.key: self._find(tx, build, one) for one in sources_of(build.config, inputs)}
        lacking = [key for key, version in found.items() if version is None]
        if lacking:
            raise Conflict(
                f"dataset {lacking[0]} has nothing in it yet, and a step reads it",
                hint=f"Add something: `conveyor data add {lacking[0].partition('@')[0]} FILE`.",
            )
        data = {key: version.version for key, version in found.items() if version is not None}
        context = self._context
        run = new_run(context.new_id(), build, wanted, data, given, context.clock.now(), force=asked.force)
        return plan(context, self._steps, tx, replace(run, reason=run.reason), build)

    def _build(self, tx: Transaction, project: str, commit: str) -> Build:
        if not commit:
            build = latest_build(tx, project)
            if build is None:
                raise NotFound(
                    f"project {project!r} has no build yet", hint="Push it; `conveyor run list` shows the build."
                )
            return build
        found = tx.find(BUILDS, where={"project": project}, limit=1000)
        build = next((each for each in found if each.commit.startswith(commit)), None)
        if build is None:
            raise NotFound(f"commit {commit!r} of {project!r} was not built", hint="Push it, or name a built commit.")
        return build
