"""`conveyor model parity`: features as they were served, beside what the steps make of the data."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json
from conveyor.config.duration import parse_duration
from conveyor.domain import wire
from conveyor.domain.parity import ParityReport, told
from conveyor.domain.requests import CheckParity
from conveyor.domain.run import RunState
from conveyor.errors import InputRejected, StepFailed

_WAIT = 4 * 3600.0


def parity(
    model: Annotated[str, typer.Argument(help="The model.")],
    window: Annotated[str, typer.Option(help="Predictions of so long before the newest.")] = "7d",
    project: Annotated[str, typer.Option(help="The project, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the features that were served with those that the model's steps make of the data; exit code 1 where any
    differs.

    Predictions are found by their key, which the requests must send. Example: conveyor model parity fraud --window 1d
    """
    length = parse_duration(window)
    if length is None:
        raise InputRejected(f"{window[:40]!r} is no duration", hint="Write it as 12h or 7d.")
    client = lifecycle.client()
    project = client.project(project or None)
    run = client.wait(client.check_parity(project, model, CheckParity(length)).id, seconds=_WAIT)
    if run.state is not RunState.SUCCEEDED:
        raise StepFailed(
            f"run {run.id} has {run.state}: {run.error}", hint=f"`conveyor logs {run.id}` shows its output."
        )
    report = wire.from_builtins(run.result, ParityReport)
    if as_json:
        say_json(report)
    for line in () if as_json else told(report):
        say(line)
    if report.differing:
        raise typer.Exit(1)
