"""`conveyor release` and `conveyor rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests

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


def rollback(
    environment: Annotated[str, typer.Argument()] = "production",
    to: Annotated[int | None, typer.Option(help="The release to go back to; the one before if not given.")] = None,
    reason: str = "asked for by a person",
    project: Project = "",
) -> None:
    """Go back to an earlier release. Example: conveyor rollback production --to 12"""
    client = lifecycle.client()
    say(client.rollback(client.project(project), environment, requests.Rollback(to, reason)).message)
