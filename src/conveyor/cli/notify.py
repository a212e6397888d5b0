"""`conveyor notify`: who is told of alerts."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, table

app = typer.Typer(help="Who is told of alerts: webhooks, Slack, mail.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]


@app.command("list")
def list_(project: Project = "", as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Receivers, and what waits for them. Example: conveyor notify list"""
    client = lifecycle.client()
    found = client.receivers(client.project(project))
    if as_json:
        say_json(found)
        return
    if not found:
        say("Nobody is told of alerts yet: declare a [notify.NAME] in conveyor.toml.")
        return
    rows = [(each.name, each.kind, ", ".join(each.on) or "all", each.waiting, each.attempts) for each in found]
    table(("name", "kind", "on", "waiting", "failed attempts of the first"), rows)


@app.command("test")
def try_(name: str, project: Project = "") -> None:
    """Send a test notice now. Example: conveyor notify test pager"""
    client = lifecycle.client()
    say(client.test_receiver(client.project(project), name).message)
