"""`conveyor rollout`: holding, resuming and aborting the rollout that is under way."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say
from conveyor.domain import requests

app = typer.Typer(help="The rollout that is under way in an environment.", no_args_is_help=True)
Environment = Annotated[str, typer.Argument(help="The environment.")]
Project = Annotated[str, typer.Option(help="The project, where there are several.")]


@app.command("pause")
def pause(
    environment: Environment = "production",
    minutes: Annotated[float, typer.Option(help="After so long it goes on by itself.")] = 60.0,
    reason: str = "asked for by a person",
    project: Project = "",
) -> None:
    """Hold a rollout where it is; faults still end it. Example: conveyor rollout pause production --minutes 30"""
    client = lifecycle.client()
    say(client.pause(client.project(project), environment, requests.Pause(minutes, reason)).message)


@app.command("resume")
def resume(
    environment: Environment = "production", reason: str = "asked for by a person", project: Project = ""
) -> None:
    """Let a paused rollout go on. Example: conveyor rollout resume production"""
    client = lifecycle.client()
    say(client.resume(client.project(project), environment, requests.Resume(reason)).message)


@app.command("abort")
def abort(environment: Environment = "production", reason: str = "aborted by a person", project: Project = "") -> None:
    """Give a rollout up: traffic stays on the release before. Example: conveyor rollout abort production"""
    client = lifecycle.client()
    say(client.abort(client.project(project), environment, requests.Abort(reason)).message)
