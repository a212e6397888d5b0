"""`conveyor labels`: what turned out to be true of predictions."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, table
from conveyor.domain import wire
from conveyor.errors import InputRejected

app = typer.Typer(help="Labels of predictions: send and see them.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[str, typer.Option("--project", help="Needed where there are several.")]
_AT_ONCE = 8 * 2**20  # bytes of a request
_SHOWN = 20


@app.command("add")
def add(
    model: str,
    file: Annotated[str, typer.Argument(help="A .jsonl or .csv file, or - for JSON lines of standard input.")],
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Send labels, by prediction id or key. Example: conveyor labels add fraud labels.csv"""
    client = lifecycle.client()
    where, taken, repeated = client.project(project or None), 0, 0
    for body in _requests(_lines(file)):
        key = hashlib.sha256(body).hexdigest()  # the same file again changes nothing
        said = client.send_label_bytes(where, model, "application/x-ndjson", body, key)
        taken += 0 if said.duplicate else said.rows
        repeated += said.rows if said.duplicate else 0
    if as_json:
        say_json({"taken": taken, "repeated": repeated})
        return
    more = f", {repeated:,} had been sent before" if repeated else ""
    say(f"{taken:,} labels taken{more}; `conveyor labels status {model}` tells what they are of")


@app.command("status")
def status(model: str, project: Project = "", as_json: Json = False) -> None:
    """How many predictions have their label. Example: conveyor labels status fraud"""
    client = lifecycle.client()
    found = client.label_status(client.project(project or None), model)
    if as_json:
        say_json(found)
        return
    say(f"{found.predictions:,} predictions of {found.model}: {found.labelled:,} labelled, {found.pending:,} pending,")
    say(f"  {found.never:,} older than {found.horizon} without one, which never comes")
    say(f"{found.labels:,} labels came, {found.unknown:,} of them for no prediction that is known yet")
    if found.waiting:
        say(f"{found.waiting:,} pieces of more wait to become part of labels/{model}")


@app.command("list")
def list_(model: str, limit: int = _SHOWN, project: Project = "", as_json: Json = False) -> None:
    """The newest labels. Example: conveyor labels list fraud --limit 5"""
    client = lifecycle.client()
    found = client.labels(client.project(project or None), model, limit)
    if as_json:
        say_json(found)
        return
    table(("prediction", "key", "label", "time"), [(e.id or "-", e.key or "-", e.label, e.time) for e in found])


def _lines(file: str) -> Iterator[bytes]:
    try:
        if file == "-":
            yield from sys.stdin.buffer
        elif file.endswith(".csv"):
            for row in csv.DictReader(io.StringIO(Path(file).read_text())):
                yield wire.to_json({name: value for name, value in row.items() if name and value}) + b"\n"
        else:
            with Path(file).open("rb") as lines:
                yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise InputRejected(f"{file} cannot be read: {error}", hint="Give a .jsonl or .csv file, or -.") from error


def _requests(lines: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        if not line.strip():
            continue
        held.append(line if line.endswith(b"\n") else line + b"\n")
        size += len(line)
        if size >= _AT_ONCE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
