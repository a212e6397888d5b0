"""`conveyor run` in a project's folder: what would run, or running it. Nothing of the server is imported."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conveyor.cli.output import columns, say, say_json, span
from conveyor.domain.plan import Decision, Verdict
from conveyor.engine.local.opening import LocalRun, open_local
from conveyor.engine.local.runner import Asked, StepOutcome
from conveyor.errors import InputRejected

_PLANNED = {Verdict.RUN: "would run", Verdict.WAITS: "may run", Verdict.CACHED: "in the store"}
_DONE = {Verdict.RUN: "ran", Verdict.CACHED: "from the store"}


def run_here(
    steps: Sequence[str],
    *,
    dry_run: bool = False,
    force: bool = False,
    params: Sequence[str] = (),
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """The exit code: 1 when a step failed."""
    asked = Asked(tuple(each.removeprefix("step.") for each in steps), parse(params), force)
    taken = time.time_ns()
    local: list[LocalRun] = []

    def tell(outcome: StepOutcome) -> None:
        if not as_json and outcome.verdict not in (Verdict.UP_TO_DATE, Verdict.FROZEN):
            _say(outcome, local[0], quiet=quiet)

    def waits(who: str) -> None:
        sys.stderr.write(f"waiting for {who}\n")

    with open_local(Path.cwd(), os.environ, tell, waits) as opened:
        local.append(opened)
        if opened.ended_remains and not as_json:
            say(f"ended {opened.ended_remains} process groups of a run that was killed")
        if dry_run:
            planned = opened.runner.plan(asked)
            say_json(planned) if as_json else show_plan(planned)
            return 0
        began = time.perf_counter()
        outcomes = opened.runner.run(asked)
        said = summary(outcomes, time.perf_counter() - began)
        if not params and not force and not as_json:
            opened.testify(list(steps), said, outcomes, taken)
    if as_json:
        say_json(outcomes)
    else:
        _metrics(opened, outcomes)
        say(said)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def parse(given: Sequence[str]) -> dict[str, Any]:
    """`name=value`: a value that is JSON is what it says, any other is text."""
    found = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise InputRejected(f"--param {each} has no value", hint="Write it as --param name=value.")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def summary(outcomes: Sequence[StepOutcome], seconds: float) -> str:
    counted = Counter("failed" if o.error else "not begun" if o.skipped else str(o.verdict) for o in outcomes)
    many = f"{len(outcomes)} step{'s' if len(outcomes) != 1 else ''}"
    if set(counted) <= {"up to date", "frozen"}:
        frozen = f" ({counted['frozen']} frozen)" if counted["frozen"] else ""
        return f"{many}: up to date{frozen}"
    words = {"run": "ran", "cached": "from the store"}
    parts = [f"{count} {words.get(word, word)}" for word, count in counted.items()]
    return f"{many}: {', '.join(parts)}; {span(seconds)}"


def _say(outcome: StepOutcome, local: LocalRun, *, quiet: bool) -> None:
    why = f"  ({outcome.reasons[0]})" if outcome.reasons else ""
    log = local.runner.log(outcome.step)
    if outcome.verdict is Verdict.RUN and log.exists() and (outcome.error or not quiet):
        for line in log.read_text(errors="replace").splitlines():
            say(f"{outcome.step} | {line}")
    if outcome.error:
        say(f"{outcome.step}: failed after {span(outcome.seconds)}")
        say(f"  {outcome.error}")
    else:
        say(f"{outcome.step}: {_DONE[outcome.verdict]}, {span(outcome.seconds)}{why}")


def show_plan(planned: Sequence[Decision]) -> None:
    rows = [(each.step, _PLANNED.get(each.verdict, str(each.verdict)), "; ".join(each.reasons)) for each in planned]
    for line in columns(("step", "", "why"), rows):
        say(line)


def _metrics(local: LocalRun, outcomes: Sequence[StepOutcome]) -> None:
    """The figures of steps that ran, from the files that they call metrics."""
    for outcome in outcomes:
        if not outcome.ok or outcome.verdict not in (Verdict.RUN, Verdict.CACHED):
            continue
        for path in local.project.steps[outcome.step].metrics:
            if path.endswith(".json"):
                try:
                    found = json.loads((local.project.root / path).read_bytes())
                except (OSError, ValueError):
                    continue
                figures = [f"{k} {v:g}" for k, v in found.items() if isinstance(v, int | float)] if found else []
                say(f"{path}: {', '.join(figures)}")
