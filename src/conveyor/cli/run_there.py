"""`conveyor run --server`: the steps of a pushed project, at its control plane; told as they end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, span
from conveyor.cli.run_here import parse, show_plan
from conveyor.client import Client
from conveyor.domain.requests import RunSteps
from conveyor.domain.run import ENDED, Run, RunState, Step, StepState

_EVERY = 0.2


def run_there(
    steps: Sequence[str],
    *,
    project: str = "",
    commit: str = "",
    dry_run: bool = False,
    force: bool = False,
    params: Sequence[str] = (),
    as_json: bool = False,
    quiet: bool = False,
    detach: bool = False,
) -> int:
    """The exit code: 1 when the run did not succeed."""
    client = lifecycle.client()
    where = client.project(project or None)
    asked = RunSteps(tuple(each.removeprefix("step.") for each in steps), parse(params), force, commit)
    if dry_run:
        planned = client.plan_steps(where, asked)
        say_json(planned) if as_json else show_plan(planned)
        return 0
    began = time.perf_counter()
    run = client.run_steps(where, asked)
    if not detach:
        run = follow(client, run, quiet=quiet or as_json, silent=as_json)
    if as_json:
        say_json(run)
    elif detach and run.state is RunState.RUNNING:
        say(f"run {run.id} began; see `conveyor run show {run.id}`, end it by `conveyor run cancel {run.id}`")
    else:
        _sum(run, time.perf_counter() - began)
    return 0 if run.state in (RunState.SUCCEEDED, RunState.RUNNING) else 1


def follow(client: Client, run: Run, *, quiet: bool, silent: bool) -> Run:
    """Tells of each step as it ends; returns the run when it is over."""
    told: set[str] = set()
    while True:
        for step in run.steps:
            if step.state in ENDED and step.name not in told:
                told.add(step.name)
                if not silent:
                    _tell(client, run, step, quiet=quiet)
        if run.state is not RunState.RUNNING:
            return run
        time.sleep(_EVERY)
        run = client.run(run.id)


def _tell(client: Client, run: Run, step: Step, *, quiet: bool) -> None:
    why = run.params.get("why", {}).get(step.name, "")
    if step.state is StepState.CACHED and not why:
        return
    if step.state is not StepState.CACHED and (step.state is StepState.FAILED or not quiet):
        for line in _log(client, run, step.name).splitlines():
            say(f"{step.name} | {line}")
    took = f", {span((step.ended - step.started).total_seconds())}" if step.started and step.ended else ""
    words = {StepState.SUCCEEDED: "ran", StepState.CACHED: "from the store"}
    about = f"  ({why})" if why and step.state is not StepState.FAILED else ""
    say(f"{step.name}: {words.get(step.state, str(step.state))}{took}{about}")
    if step.error:
        say(f"  {step.error}")


def _log(client: Client, run: Run, step: str) -> str:
    text, offset = "", 0
    while (chunk := client.log(run.id, step, offset)).text:
        text, offset = text + chunk.text, chunk.next_offset
    return text


def _sum(run: Run, seconds: float) -> None:
    many = f"{len(run.steps)} step{'s' if len(run.steps) != 1 else ''}"
    if run.result == {"cached": len(run.steps)} and not run.params.get("why"):
        say(f"{many}: up to date")
        return
    words = {"succeeded": "ran", "cached": "from the store", "cancelled": "not begun"}
    parts = [f"{count} {words.get(state, state)}" for state, count in run.result.items()]
    say(f"{many}: {', '.join(parts)}; {span(seconds)} (run {run.id})")
