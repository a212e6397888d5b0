"""`conveyor token`: who else may use this Conveyor, and for what."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.config.duration import parse_duration
from conveyor.domain import requests
from conveyor.domain.token import Role
from conveyor.errors import InputRejected

app = typer.Typer(help="Tokens of the API, git and the pages, with roles.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("create")
def create(
    name: str,
    role: Annotated[
        Role, typer.Option(help="viewer reads; deployer pushes, promotes, rolls back, sends data; admin does all.")
    ] = Role.VIEWER,
    expires: Annotated[str, typer.Option(help="After how long it ends, such as 30d; never if not given.")] = "",
    as_json: Json = False,
) -> None:
    """Make a token; it is shown once. Example: conveyor token create laptop --role deployer --expires 30d"""
    duration = parse_duration(expires) if expires else None
    if expires and duration is None:
        raise InputRejected(f"{expires!r} is not a duration", hint="Give a number and a unit, such as 12h or 30d.")
    made = lifecycle.client().create_token(requests.CreateToken(name, role, duration))
    if as_json:
        say_json(made)
        return
    say(made.token)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All tokens but the first admin's; never their text. Example: conveyor token list"""
    found = lifecycle.client().tokens()
    if as_json:
        say_json(found)
        return
    rows = [(t.name, t.role, ago(t.created), f"{t.expires:%Y-%m-%d %H:%M}" if t.expires else "never") for t in found]
    table(("name", "role", "made", "expires (UTC)"), rows)


@app.command("rm")
def remove(name: str) -> None:
    """End a token. Example: conveyor token rm laptop"""
    say(lifecycle.client().remove_token(name).message)
