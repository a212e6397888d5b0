"""`conveyor release` and `conveyor rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle, receipt
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.domain.run import RunState
from conveyor.errors import Refused

_MOST_SECONDS = 3600.0  # a check of a large database takes its time
app = typer.Typer(help="Releases of an environment.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(root: typer.Typer) -> None:
    root.command("rollback")(rollback)


@app.callback()
def _release() -> None:
    """Releases of an environment."""


@app.command("list")
def list_(environment: str = "production", limit: int = 20, project: Project = "", as_json: Json = False) -> None:
    """Releases, newest first. Example: conveyor release list"""
    client = lifecycle.client()
    found = client.releases(client.project(project), environment, limit)
    if as_json:
        say_json(found)
        return
    table(
        ("release", "commit", "models", "made", "reason"),
        [
            (r.number, r.commit[:8], ", ".join(f"{n} v{v}" for n, v in r.models.items()), ago(r.created), r.reason)
            for r in found
        ],
    )


@app.command()
def show(
    number: Annotated[int | None, typer.Argument(help="The newest of the environment if not given.")] = None,
    environment: Annotated[str, typer.Option("--env", help="The environment.")] = "production",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """A release with the receipt of its rollout. Example: conveyor release show 12 --env production"""
    client = lifecycle.client()
    found = client.release(client.project(project), environment, number)
    if as_json:
        say_json(found)
        return
    for line in receipt.lines(found):
        say(line)


def rollback(
    environment: Annotated[str, typer.Argument()] = "production",
    to: Annotated[int | None, typer.Option(help="The release to go back to; the one before if not given.")] = None,
    reason: str = "asked for by a person",
    restore: Annotated[bool, typer.Option("--restore", help="Bring the database back too, from its backup.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --restore: do it, although data are lost.")] = False,
    project: Project = "",
) -> None:
    """Go back to an earlier release. Example: conveyor rollback production --to 12"""
    client = lifecycle.client()
    said = client.rollback(client.project(project), environment, requests.Rollback(to, reason, restore, yes))
    say(said.message)
    if not said.run:
        return
    checked = client.wait(said.run, seconds=_MOST_SECONDS)
    if checked.state is not RunState.SUCCEEDED:
        raise Refused(checked.error, hint=f"`conveyor logs {said.run}` shows the check.")
    say(f"it passed: {checked.reason}")
