"""`conveyor score`: all rows of a dataset go through a model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, span
from conveyor.cli.text import many
from conveyor.config.duration import parse_duration
from conveyor.domain.dataset import utc
from conveyor.domain.families import SCORES
from conveyor.domain.requests import ScoreDataset
from conveyor.domain.run import RunState
from conveyor.errors import InputRejected

_FORM = "Give a date or a time, as 2026-03-01 or 2026-03-01T12:00."


def add(app: typer.Typer) -> None:
    app.command("score")(score)


def score(
    model: Annotated[str, typer.Argument(help="NAME@VERSION: a number or an alias. NAME: the one that is live.")],
    dataset: Annotated[str, typer.Argument(help="NAME, or NAME@REFERENCE.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The result is scores/NAME; the model's name.")] = "",
    keep: Annotated[list[str] | None, typer.Option(help="A column to take over, beside key and time.")] = None,
    window: Annotated[str, typer.Option(help="Only rows of so long before the newest: 28d.")] = "",
    since: Annotated[str, typer.Option(help="Only rows from this event time on.")] = "",
    until: Annotated[str, typer.Option(help="Only rows up to this event time.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be scored.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False,
    project: Annotated[str, typer.Option(help="The project, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a dataset at the server; the result is a dataset, `scores/NAME`, with a score or a reason for each row.

    What was scored is kept: after a crash it goes on, and a later scoring does only what is new.
    Example: conveyor score fraud transactions -o spring --window 28d
    """
    from conveyor.cli.run_there import follow

    name, _, version = model.partition("@")
    client = lifecycle.client()
    project = client.project(project or None)
    first, last = _moment(since), _moment(until)
    if window:
        if first:
            raise InputRejected("--window and --since both say where to begin", hint="Give one of them.")
        length = parse_duration(window)
        if length is None:
            raise InputRejected(f"{window[:40]!r} is no duration", hint="Write it as 12h or 28d.")
        end = last or client.table(project, *_parted(dataset)).version.last
        first = utc(end) - length if end else None
    target = f"{SCORES}/{output.removeprefix(f'{SCORES}/') or name}"
    asked = ScoreDataset(dataset, target, version or "live", tuple(keep or ()), first, last, dry_run)
    found = client.score(project, name, asked)
    about = f"{many(found.rows, 'row')} in {many(found.parts, 'part')} of {found.dataset} by {found.model}"
    if dry_run or detach:
        if as_json:
            say_json(found)
        elif dry_run:
            say(f"would score {about}, in {many(found.steps, 'step')}, as {found.output}")
        else:
            say(f"run {found.run} scores {about}; see `conveyor run show {found.run}`")
        return
    if not as_json:
        say(f"scoring {about} (run {found.run})")
    run = follow(client, client.run(found.run), quiet=True, silent=as_json)
    if as_json:
        say_json(run)
    elif run.state is RunState.SUCCEEDED:
        _sum(run.result, (run.ended - run.created).total_seconds() if run.ended else 0.0, found.output)
    else:
        say(f"run {run.id} has {run.state}: {run.error}")
    if run.state is not RunState.SUCCEEDED:
        raise typer.Exit(1)


def _sum(result: dict[str, object], seconds: float, output: str) -> None:
    say(f"{output}@v{result['version']}: {result['rows']:,} rows, {span(seconds)}")
    refused = result["refused"]
    assert isinstance(refused, dict)
    for reason, rows in sorted(refused.items(), key=lambda item: -item[1]):
        say(f"  no score for {many(rows, 'row')}: {reason}")
    say(f"See `conveyor data head {output}`.")


def _parted(dataset: str) -> tuple[str, str]:
    name, _, which = dataset.partition("@")
    return name, which or "latest"


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError:
        raise InputRejected(f"{text[:40]!r} is no time", hint=_FORM) from None
