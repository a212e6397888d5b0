"""`conveyor data quarantine`: rows that failed the contract are looked at, put back or given up."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.errors import InputRejected


class _ListByDefault(TyperGroup):
    """`conveyor data quarantine NAME` lists, as it did before there were commands below it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["list", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(help="Rows that failed the contract: kept, never lost.", no_args_is_help=True, cls=_ListByDefault)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Entry = Annotated[str, typer.Argument(help="An entry, as `list` names it.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept on record.")]


@app.command("list")
def list_(
    name: str,
    limit: int = 20,
    every: Annotated[bool, typer.Option("--all", help="Also entries whose rows were released or dropped.")] = False,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """What is held, by file and rule. Example: conveyor data quarantine list transactions"""
    client = lifecycle.client()
    where = client.project(project)
    found = client.quarantine(where, name, limit)
    found += client.quarantine_past(where, name, limit) if every else []
    if as_json:
        say_json(found)
        return
    for entry in found:
        reasons = ", ".join(f"{rule}: {rows:,}" for rule, rows in entry.reasons.items())
        held = f"{_rows(entry.rows)} ({reasons})" if entry.rows else entry.state
        say(f"{entry.name}  {entry.file}: {held}; {ago(entry.created)}")
        for act in entry.acts if every else ():
            why = f": {act.why}" if act.why else ""
            say(f"          {act.what} {_rows(act.rows)} {ago(act.at)} by {act.by}{why}")
    if not found:
        say("Nothing is in quarantine.")


@app.command("show")
def show(
    name: str,
    entry: Entry,
    count: Annotated[int, typer.Option("-n", help="How many rows.")] = 20,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Rows with number, rule and reason. Example: conveyor data quarantine show transactions 1a2b3c4d -n 5"""
    client = lifecycle.client()
    found = client.quarantined_rows(client.project(project), name, entry, count)
    if as_json:
        say_json(found)
        return
    held = found.entry
    say(f"{held.name}  {held.file}: {_rows(held.rows)} held, {len(found.rows):,} shown")
    if found.rows:
        table(
            ("row", "reason", *found.columns),
            [(row.number, row.reason, *(row.values[column] for column in found.columns)) for row in found.rows],
        )


@app.command("release")
def release(
    name: str,
    entry: Entry,
    rows: Annotated[str, typer.Option(help="Only these rows: 3,7,20-25. All if not given.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Take them as they are, past the contract.")] = False,
    why: Why = "",
    project: Project = "",
) -> None:
    """Put rows back; what still fails is held again. Example: conveyor data quarantine release transactions 1a2b3c4d"""
    client = lifecycle.client()
    request = requests.ReleaseRows(numbers(rows), force, getpass.getuser(), why)
    say(client.release_rows(client.project(project), name, entry, request).message)


@app.command("drop")
def drop(name: str, entry: Entry, why: Why = "", project: Project = "") -> None:
    """Give rows up; who and why is kept. Example: conveyor data quarantine drop transactions 1a2b3c4d --reason test"""
    client = lifecycle.client()
    request = requests.DropRows(getpass.getuser(), why)
    say(client.drop_rows(client.project(project), name, entry, request).message)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def numbers(text: str) -> tuple[int, ...]:
    """ "3,7,20-25" as numbers; () for nothing."""
    found: list[int] = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) - int(first) > 1_000_000):
            raise InputRejected(f"{part!r} is no row number", hint="Write rows as 3,7,20-25.")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(found)
