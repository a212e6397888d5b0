"""`conveyor gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json
from conveyor.config.duration import parse_duration
from conveyor.domain import requests
from conveyor.errors import InputRejected


def add(app: typer.Typer) -> None:
    app.command("gc")(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")] = False,
    grace: Annotated[str, typer.Option(help="Nothing younger is touched; 1d if not given.")] = "",
    models: Annotated[
        int,
        typer.Option(help="Of each model the artifacts of so many newest versions stay, and what is needed; 0: all."),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Delete what nothing needs any more, and explain what stays. Example: conveyor gc --dry-run

    The same happens by itself once a day.
    """
    age = parse_duration(grace) if grace else None
    if grace and age is None:
        raise InputRejected(f"{grace!r} is no duration", hint="Write it as 12h, 1d or 1h30m.")
    done = lifecycle.client().collect(requests.Collect(dry_run, age, models))
    if as_json:
        say_json(done)
        return
    for verdict in done.verdicts:
        what = "keep" if verdict.keep else "would delete" if done.dry_run else "deleted"
        say(f"{what:<12} {_size(verdict.item.bytes):>9}  {verdict.item.path}: {verdict.reason}")
    for each in done.objects:
        what = "keep" if each.keep else "would delete" if done.dry_run else "deleted"
        say(f"{what:<12} {_size(each.bytes):>9}  {each.count:,} objects: {each.reason}")
    verb = "would be deleted" if done.dry_run else "deleted"
    say(f"{done.deleted} {verb} ({_size(done.deleted_bytes)}), {done.kept} kept ({_size(done.kept_bytes)})")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
