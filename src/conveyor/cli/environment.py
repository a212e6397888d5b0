"""`conveyor env list | show | rm`, `conveyor promote`, `conveyor approve`, `conveyor reject`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.client import Client
from conveyor.domain import requests
from conveyor.domain.views import EnvironmentView
from conveyor.errors import Conflict, InputRejected, NotFound

app = typer.Typer(help="Environments: what is live where, and previews of branches.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Waiting = Annotated[str, typer.Argument(help="The environment; the only one that waits if not given.")]


def add(root: typer.Typer) -> None:
    root.add_typer(app, name="env")
    root.command("promote")(promote)
    root.command("approve")(approve)
    root.command("reject")(reject)


@app.callback()
def _environment() -> None:
    """Environments: what is live where, and previews of branches."""


@app.command("list")
def list_(project: Project = "", as_json: Json = False) -> None:
    """All environments of a project, with their addresses. Example: conveyor env list"""
    client = lifecycle.client()
    found = client.environments(client.project(project))
    if as_json:
        say_json(found)
        return
    table(("environment", "live", "takes", "address", "state"), [_row(view) for view in found])


@app.command("show")
def show(name: str, project: Project = "", as_json: Json = False) -> None:
    """One environment: what is live, what waits and why. Example: conveyor env show staging"""
    client = lifecycle.client()
    found = _named(client.environments(client.project(project)), name)
    if as_json:
        say_json(found)
        return
    say(f"{found.project} {found.name}")
    for label, text in _facts(found):
        if text:
            say(f"  {label:<9} {text}")
    for component, reason in found.rejected.items():
        say(f"  rejected  {component[:40]}: {reason}")


@app.command("rm")
def rm(name: str, reason: str = "a person asked for it", project: Project = "") -> None:
    """Take down a preview, or one that conveyor.toml dropped. Example: conveyor env rm preview-new-checkout"""
    client = lifecycle.client()
    say(client.remove_environment(client.project(project), name, requests.Remove(reason)).message)


def promote(
    source: Annotated[str, typer.Argument(help="Where it is live.")],
    target: Annotated[str, typer.Argument(help="Where it shall go.")],
    again: Annotated[bool, typer.Option("--again", help="Also what was rejected there before.")] = False,
    project: Project = "",
) -> None:
    """Move what is live to the next environment, digest for digest. Example: conveyor promote staging production"""
    client = lifecycle.client()
    say(client.promote(client.project(project), target, requests.Promote(source, again)).message)


def approve(environment: Waiting = "", project: Project = "") -> None:
    """Let the release that waits go out. Example: conveyor approve production"""
    client = lifecycle.client()
    found = _waiting(client, client.project(project), environment)
    asked = requests.Approve(found.proposal.key if found.proposal else "")
    say(f"{found.name} {client.approve(found.project, found.name, asked).message}")


def reject(
    environment: Waiting = "",
    reason: Annotated[str, typer.Option(help="Why; it is on record.")] = "a person said no",
    project: Project = "",
) -> None:
    """Rule out the release that waits. Example: conveyor reject production --reason "not before Monday" """
    client = lifecycle.client()
    found = _waiting(client, client.project(project), environment)
    asked = requests.Reject(reason, found.proposal.key if found.proposal else "")
    say(f"{found.name} {client.reject(found.project, found.name, asked).message}")


def _waiting(client: Client, project: str, name: str) -> EnvironmentView:
    """The environment named, or the only one where something waits: what was seen is what is decided on."""
    found = client.environments(project)
    if name:
        return _named(found, name)
    waiting = [view for view in found if view.proposal is not None]
    if not waiting:
        raise Conflict("nothing waits for approval", hint="`conveyor status` shows what is under way.")
    if len(waiting) > 1:
        names = ", ".join(view.name for view in waiting)
        raise InputRejected("releases wait in several environments", hint=f"Name one of: {names}.")
    return waiting[0]


def _named(found: list[EnvironmentView], name: str) -> EnvironmentView:
    view = next((view for view in found if view.name == name), None)
    if view is None:
        names = ", ".join(view.name for view in found) or "none yet"
        raise NotFound(f"there is no environment {name!r}", hint=f"There are: {names}.")
    return view


def _row(view: EnvironmentView) -> tuple[object, ...]:
    live = f"{view.live.number} ({view.live.commit[:8]})" if view.live else "-"
    takes = f"promoted from {view.source}" if view.source else view.branch or "-"
    return view.name, live, takes, view.address, _state(view)


def _state(view: EnvironmentView) -> str:
    if view.note:
        return view.note
    if view.rollout is not None:
        return f"release {view.rollout.release}: {view.rollout.phase}"
    if view.proposal is not None:
        return f"waits for approval: {view.proposal.text}"
    return view.waiting or "at rest"


def _facts(view: EnvironmentView) -> list[tuple[str, str]]:
    live = view.live
    models = "".join(f", {name} v{version}" for name, version in (live.models if live else {}).items())
    what = f"release {live.number}, commit {live.commit[:8]}{models}, {ago(live.created)}" if live else "nothing"
    left = view.expires - datetime.now(UTC) if view.expires else None
    return [
        ("address", view.address),
        ("live", what),
        ("build", live.build if live else ""),
        ("branch", view.branch),
        ("from", view.source),
        ("expires", f"in {left.total_seconds() / 3600:.1f} h, unless something is pushed" if left else ""),
        ("rollout", f"release {view.rollout.release}: {view.rollout.phase}" if view.rollout else ""),
        ("proposal", f"{view.proposal.text}; `conveyor approve {view.name}`" if view.proposal else ""),
        ("waiting", view.waiting),
        ("note", view.note),
    ]
