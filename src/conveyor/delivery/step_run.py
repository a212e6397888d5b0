"""The recipe of a run of a project's own steps, asked for by a person: `conveyor run --server`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from conveyor.delivery.project_steps import ProjectSteps, config_of, new_step
from conveyor.domain.plan import Decision, Past, Verdict, decide, edges_of, key_of, order
from conveyor.domain.release import Build
from conveyor.domain.run import DONE, Run, RunState, Step, StepState
from conveyor.domain.state import StepPasts
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.engine.step_notes import cached
from conveyor.errors import ConveyorError
from conveyor.stores.collections import BUILDS, STEP_PASTS
from conveyor.stores.records import Transaction

KIND = "run"


@dataclass(frozen=True, slots=True)
class Planned:
    """The run with all that need not run taken from where it is kept, and what was decided of each step."""

    run: Run
    decisions: tuple[Decision, ...]
    pasts: dict[str, Past] = field(default_factory=dict)


def new_run(
    id_: str,
    build: Build,
    wanted: tuple[str, ...],
    data: Mapping[str, int],
    params: Mapping[str, Any],
    now: datetime,
    *,
    force: bool = False,
) -> Run:
    config, edges = build.config, edges_of(build.config.steps)
    steps = tuple(new_step(config.steps[name], edges[name]) for name in order(edges, wanted))
    about = {"build": build.id, "data": dict(data), "step_params": dict(params), "force": force, "steps": list(wanted)}
    subject = f"{build.project}/{','.join(wanted) or 'all steps'}"
    reason = f"asked for at commit {build.commit[:8]}"
    return Run(id_, build.project, KIND, subject, about, steps, now, reason=reason)


class StepRunRecipe:
    kind = KIND
    at_once = 1

    def __init__(self, context: Context, steps: ProjectSteps) -> None:
        self._context = context
        self._steps = steps

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        with self._context.records.read() as tx:
            build = tx.need(BUILDS, run.params["build"])
        command = self._steps.prepare(run, build, step.name, job)
        return replace(command, fresh=command.fresh or run.params["force"])

    def complete(self, run: Run, tx: Transaction) -> Run:
        remember(self._steps, run, tx)
        return replace(run, result=_counted(run))

    def failed(self, run: Run, tx: Transaction) -> Run:
        """What was done before is not done again."""
        remember(self._steps, run, tx)
        return replace(run, result=_counted(run))


def plan(context: Context, steps: ProjectSteps, tx: Transaction, run: Run, build: Build) -> Planned:
    """Decides as far as can be known: all of it where nothing has to run. No process is started for that."""
    known = tx.get(STEP_PASTS, run.project)
    pasts = dict(known.steps) if known else {}
    decisions: list[Decision] = []
    now, force = context.clock.now(), bool(run.params["force"])
    for step in run.steps:
        config = config_of(run, build, step.name)
        past = pasts.get(step.name)
        if config.frozen and not force and past is not None and _there(context, past):
            decisions.append(Decision(step.name, Verdict.FROZEN, ("it is frozen",)))
            run = run.with_step(_kept(step, past, now))
            continue
        config = replace(config, frozen=False)
        waits = [need for need in step.needs if run.step(need).state not in DONE]
        if waits:
            decisions.append(decide(config, past.facts if past else {}, past, {}, stored=False, running=waits))
            continue
        facts = steps.facts(tx, run, build, step.name)
        key = key_of(facts)
        kept = None if force or config.always else cached(tx, context.objects, key, shared=True)
        outputs = past.outputs if past is not None and past.key == key and kept is not None else {}
        decision = decide(config, facts, past, outputs, stored=kept is not None, force=force)
        decisions.append(decision)
        if kept is not None:
            pasts[step.name] = Past(key, facts, kept.outputs)
            run = run.with_step(_kept(step, pasts[step.name], now))
    return Planned(_told(run, decisions, now), tuple(decisions), pasts)


def remember(steps: ProjectSteps, run: Run, tx: Transaction) -> None:
    """Of every step that was done: what its outputs depended on. It is what the next one is compared with."""
    build = tx.need(BUILDS, run.params["build"])
    known = tx.get(STEP_PASTS, run.project)
    before = known.steps if known else {}
    found = {}
    for step in run.steps:
        past = before.get(step.name)
        if step.state not in DONE or not step.key or step.name not in build.config.steps:
            continue
        if past is not None and past.key == step.key and past.outputs == step.outputs:
            continue
        with contextlib.suppress(ConveyorError):  # a secret was taken away since, say: no reason to fail the run
            facts = steps.facts(tx, run, build, step.name)
            if key_of(facts) == step.key:
                found[step.name] = Past(step.key, facts, step.outputs)
    keep(tx, run.project, before, {**before, **found})


def keep(tx: Transaction, project: str, before: Mapping[str, Past], pasts: Mapping[str, Past]) -> None:
    if pasts != before:
        tx.put(STEP_PASTS, StepPasts(project, dict(pasts)))


def _there(context: Context, past: Past) -> bool:
    return all(context.objects.keep(digest) for digest in past.outputs.values())


def _kept(step: Step, past: Past, now: datetime) -> Step:
    return replace(step, state=StepState.CACHED, key=past.key, outputs=past.outputs, attempt=1, started=now, ended=now)


def _told(run: Run, decisions: list[Decision], now: datetime) -> Run:
    """With the reasons of what has to run; over at once where nothing has to."""
    why = {each.step: "; ".join(each.reasons) for each in decisions if each.verdict in (Verdict.RUN, Verdict.WAITS)}
    why |= {each.step: "; ".join(each.reasons) for each in decisions if each.verdict is Verdict.CACHED}
    run = replace(run, params={**run.params, "why": why})
    if run.ended_steps:
        run = replace(run, state=RunState.SUCCEEDED, ended=now)
        return replace(run, result=_counted(run))
    return run


def _counted(run: Run) -> dict[str, int]:
    states = [step.state for step in run.steps]
    return {str(state): states.count(state) for state in dict.fromkeys(states)}
