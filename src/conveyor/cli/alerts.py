"""`conveyor alerts`: what needs a look."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests

app = typer.Typer(help="What needs a look, and who looks.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The alert's id, as `conveyor alerts list` shows it.")]


@app.command("list")
def list_(
    resolved: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: int = 50,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Open alerts, newest first. Example: conveyor alerts list --all"""
    client = lifecycle.client()
    found = client.alerts(client.project(project), "" if resolved else "open", limit)
    if as_json:
        say_json(found)
        return
    if not found:
        say("Nothing needs a look.")
        return
    rows = [
        (a.id, a.severity, a.kind.label, a.name, a.state, ago(a.opened), str(a.times), a.effect or a.message[:70])
        for a in found
    ]
    table(("id", "severity", "kind", "of", "state", "opened", "times", "what"), rows)


@app.command("show")
def show(id_: Id, project: Project = "", as_json: Json = False) -> None:
    """One alert in full. Example: conveyor alerts show 5f2c8a901b3d"""
    client = lifecycle.client()
    found = client.alert(client.project(project), id_)
    if as_json:
        say_json(found)
        return
    say(f"{found.severity}: {found.kind.label} of {found.name}, {found.state}")
    say(f"  {found.message}")
    for label, text in (("moved", found.effect), ("seen", found.since), ("looks at it", found.acked)):
        if text:
            say(f"  {label}: {text}")
    say(
        f"  opened {ago(found.opened)}, last seen {ago(found.latest)}, {found.times} times; "
        f"notifications: {found.notice}"
    )


@app.command("ack")
def ack(id_: Id, project: Project = "") -> None:
    """Say that you look at it. Example: conveyor alerts ack 5f2c8a901b3d"""
    client = lifecycle.client()
    say(client.ack_alert(client.project(project), id_, requests.AckAlert()).message)


@app.command("mute")
def mute(
    id_: Id,
    length: Annotated[str, typer.Option("--for", help="How long: 2h, 1d, 30d.")] = "1d",
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="Not only of this alert's kind.")] = False,
    why: Annotated[str, typer.Option(help="Why; it is on record.")] = "",
    project: Project = "",
) -> None:
    """No notifications of such alerts of its model for a while. Example: conveyor alerts mute 5f2c8a901b3d --for 7d"""
    client = lifecycle.client()
    wanted = requests.MuteAlerts(length, all_kinds, why)
    say(client.mute_alerts(client.project(project), id_, wanted).message)
