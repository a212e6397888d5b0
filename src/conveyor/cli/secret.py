"""`conveyor secret`: values that programs are given, and that nothing shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.errors import InputRejected

app = typer.Typer(help="Secrets of services, workers and tests, by environment.", no_args_is_help=True)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Held = Annotated[
    str, typer.Option("--env", help="An environment; `test` for builds and tests, `preview` for previews.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The environment variable that it becomes.")],
    environment: Held = "production",
    value_from: Annotated[
        str, typer.Option(help="A file with the value; - for standard input. Asked for if not given.")
    ] = "",
    project: Project = "",
) -> None:
    """Give a secret a value; a release with it follows. Example: conveyor secret set PAYMENT_KEY --env production"""
    name, given, value = name.partition("=")
    if given:
        sys.stderr.write("warning: this value is in the shell's history now; `conveyor secret set NAME` asks for it.\n")
        if value_from:
            raise InputRejected(f"{name} has two values", hint="Give --value-from, or NAME=VALUE; not both.")
    else:
        value = _value(name, value_from)
    client = lifecycle.client()
    said = client.set_secret(client.project(project), environment, name, requests.SetSecret(value))
    say(said.message)


@app.command("list")
def list_(
    environment: Annotated[str, typer.Option("--env", help="Of one environment; of all if not given.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Names and versions; never values. Example: conveyor secret list"""
    client = lifecycle.client()
    found = client.secrets(client.project(project), environment)
    if as_json:
        say_json(found)
        return
    rows = [(s.environment, s.name, s.version, ago(s.created), ", ".join(s.used_by) or "-", s.ruled_out) for s in found]
    table(("environment", "name", "version", "set", "used by", "ruled out"), rows)


@app.command("rm")
def remove(name: str, environment: Held = "production", project: Project = "") -> None:
    """Take a secret's value away from the next releases. Example: conveyor secret rm PAYMENT_KEY --env staging"""
    client = lifecycle.client()
    say(client.remove_secret(client.project(project), environment, name).message)


def _value(name: str, source: str) -> str:
    """Without the newline that editors and `echo` put at the end."""
    if source and source != "-":
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputRejected(f"{source} cannot be read as text", hint="Give the path of a text file.") from error
    elif source or not sys.stdin.isatty():
        text = sys.stdin.read()
    else:
        text = typer.prompt(f"Value of {name}", hide_input=True)
    return text.removesuffix("\n").removesuffix("\r")
