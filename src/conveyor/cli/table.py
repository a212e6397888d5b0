"""`conveyor data show | head | diff | export | tag` for tables: each finds the version, and says what it holds.

The functions below take versions that are found already; the commands find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.domain.dataset import QUANTILES, ColumnProfile
from conveyor.domain.reference import parse
from conveyor.errors import InputRejected

if TYPE_CHECKING:
    from conveyor.client import Client
    from conveyor.domain.table_diff import ColumnDiff
    from conveyor.domain.views import TableView
    from conveyor.tables.table import Table

Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Window = Annotated[str, typer.Option(help="Only the newest stretch of event time, such as 28d.")]
_REFERENCE = "NAME, NAME@v12, NAME@TAG or NAME@2018-05-01T00:00"
Ref = Annotated[str, typer.Argument(help=_REFERENCE)]
_MEDIAN = QUANTILES.index(0.5)


def add(app: typer.Typer) -> None:
    """What only tables have; the other words are `cli.files.app`'s, which asks here where a table is meant."""
    app.command("head")(head_command)


def add_rows(name: str, paths: Sequence[Path], project: str = "") -> None:
    """Takes files over for a table of a project; the control plane makes a version of them."""
    client = lifecycle.client()
    where = client.project(project)
    for file in paths:
        accepted = client.add_data(where, name, file)
        same = f"the same content was taken before, as {accepted.duplicate_of}; not taken again"
        say(f"{file.name}: {same if accepted.duplicate_of else 'taken over, digest ' + accepted.digest[:12]}")
    say(f"`conveyor data log {name}` shows what becomes of it.")


def log_rows(name: str, limit: int = 20, project: str = "", as_json: bool = False) -> None:
    """Versions of a table, and what was not taken."""
    client = lifecycle.client()
    where = client.project(project)
    versions = client.dataset_versions(where, name, limit)
    if as_json:
        say_json(versions)
        return
    table(
        ("version", "rows", "until", "made", "from"),
        [(f"v{v.version}", f"{v.rows:,}", v.last or "-", ago(v.created), ", ".join(v.sources)[:60]) for v in versions],
    )
    refused = [arrival for arrival in client.arrivals(where, name, limit) if arrival.state in ("refused", "waiting")]
    for arrival in refused:
        say(f"{arrival.state} {arrival.file}: {arrival.note or 'waits for ingest'}")


def show_command(reference: Ref, project: Project = "", as_json: Json = False) -> None:
    """Schema, rows, range of event time and profile of a version. Example: conveyor data show transactions@v12"""
    client, asked = lifecycle.client(), parse(reference)
    show(client.table(asked.project or client.project(project), asked.name, asked.which), as_json)


def head_command(
    reference: Ref,
    count: Annotated[int, typer.Option("-n", help="How many rows.")] = 10,
    window: Window = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """The first rows of a version. Example: conveyor data head transactions@v12 -n 5"""
    head(_open(reference, project), count, window, as_json)


def diff_command(
    before: Annotated[str, typer.Argument(help=_REFERENCE)],
    after: Annotated[str, typer.Argument(help="As BEFORE, or only what follows the @, such as v13.")] = "latest",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Rows, columns, statistics and drift between two versions. Example: conveyor data diff transactions@v11 v12"""
    first = parse(before)
    second = after if "@" in after or after == first.name else f"{first.name}@{after}"
    diff(_open(before, project), _open(second, project or first.project), as_json)


def export_command(
    reference: Ref, file: Path, window: Window = "", project: Project = "", as_json: Json = False
) -> None:
    """Write a version to a .parquet or .csv file. Example: conveyor data export transactions@v12 v12.parquet"""
    export(_open(reference, project), file, window, as_json)


def tag_command(
    reference: Ref,
    tag: Annotated[str, typer.Argument(help="The tag; without one, the tags and their history are listed.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "asked for by a person",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Point a tag to a version, or list tags. Example: conveyor data tag transactions@v12 golden"""
    client, asked = lifecycle.client(), parse(reference)
    where = asked.project or client.project(project)
    if not tag:
        list_tags(client, where, asked.name, as_json)
        return
    said = client.tag_data(where, asked.name, tag, requests.TagVersion("" if remove else asked.which, reason))
    say_json(said) if as_json else say(said.message)


def show(view: TableView, as_json: bool = False) -> None:
    version, manifest = view.version, view.manifest
    if as_json:
        say_json(view)
        return
    name, reason = f"{version.name}@v{version.version} of {version.project}", _cut(version.reason, 80)
    say(f"{name}, made {ago(version.created)}: {reason}")
    say(f"  {version.rows:,} rows in {len(manifest.parts):,} parts, {_size(version.bytes)}")
    if version.first and version.last:
        say(
            f"  event time {view.time or ''} from {version.first:%Y-%m-%d %H:%M:%S} to {version.last:%Y-%m-%d %H:%M:%S}"
        )
    if view.key:
        say(f"  key {view.key}")
    if view.tags:
        say(f"  tags {', '.join(view.tags)}")
    say()
    profile = version.profile
    if profile is None:
        table(("column", "type"), list(version.schema.items()))
        return
    if profile.rows != version.rows:
        say(f"  The profile is of the {profile.rows:,} rows that this version added: an earlier Conveyor made it.")
    head_ = ("column", "type", "nulls", "distinct", "min", "median", "max", "mean", "std", "most frequent")
    table(head_, [_profile_row(name, column) for name, column in profile.columns.items()])


def head(found: Table, count: int, window: str = "", as_json: bool = False) -> None:
    import polars as pl

    if count < 1:
        raise InputRejected(f"-n {count} asks for no rows", hint="Give a number from 1.")
    first = found.first(count, **_which(window))
    if as_json:
        say(first.write_json())
        return
    with pl.Config(tbl_rows=count, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True):
        say("".join(char if char.isprintable() or char == "\n" else "?" for char in str(first)))


def diff(before: Table, after: Table, as_json: bool = False) -> None:
    from conveyor.tables.diff import diff as compare

    found = compare(before, after)
    if as_json:
        say_json(found)
        return
    rows = found.rows
    changed = "" if rows.changed is None else f", {rows.changed:,} changed"
    say(f"{found.before} -> {found.after}: {rows.added:,} rows added, {rows.removed:,} removed{changed}")
    say(f"  {rows.before:,} rows before, {rows.after:,} after")
    say()
    heads = ("column", "nulls", "distinct", "mean", "median", "min", "max", "PSI", "")
    table(heads, [_diff_row(column) for column in found.columns])
    say()
    say(found.message)


def export(found: Table, file: Path, window: str = "", as_json: bool = False) -> None:
    from conveyor.tables.table import write

    rows = write(found, file, **_which(window))
    if as_json:
        say_json({"file": str(file), "version": found.version, "rows": rows})
    else:
        say(f"{rows:,} rows of {found.view.version.name}@v{found.version} are in {file}")


def list_tags(client: Client, project: str, dataset: str, as_json: bool = False) -> None:
    tags, moves = client.tags(project, dataset), client.tag_moves(project, dataset)
    if as_json:
        say_json({"tags": tags, "moves": moves})
        return
    table(("tag", "version"), [(tag.name, f"v{tag.version}") for tag in tags])
    for move in moves:
        now, was = (f"v{n}" if n is not None else "nothing" for n in (move.version, move.previous))
        say(f"{ago(move.moved)}: {move.name} from {was} to {now}, {move.reason}")


def _open(reference: str, project: str) -> Table:
    from conveyor.tables.table import open_table

    return open_table(reference, project)


def _which(window: str) -> dict[str, Any]:
    return {"window": window} if window else {}


def _profile_row(name: str, column: ColumnProfile) -> tuple[str, ...]:
    median = column.quantiles[_MEDIAN] if column.quantiles else None
    top = ", ".join(f"{_cut(value, 16)} ({count:,})" for value, count in column.top[:3])
    ends = (_told(column.min), _told(median), _told(column.max))
    return (_cut(name, 40), _kind(column.dtype), *_counts(column), *ends, _told(column.mean), _told(column.std), top)


def _counts(column: ColumnProfile) -> tuple[str, str]:
    odd = f" + {column.not_finite:,} NaN" if column.not_finite else ""
    return f"{column.nulls:,}{odd}", f"{column.distinct:,}"


def _diff_row(column: ColumnDiff) -> tuple[str, ...]:
    before, after = column.before, column.after

    def both(value: str) -> str:
        old, new = (_told(getattr(each, value)) if each else "-" for each in (before, after))
        return new if old == new else f"{old} -> {new}"

    def median() -> str:
        old, new = (_told(each.quantiles[_MEDIAN]) if each and each.quantiles else "-" for each in (before, after))
        return new if old == new else f"{old} -> {new}"

    psi = f"{column.shift.psi:.3f}" if column.shift else ""
    told = (both("nulls"), both("distinct"), both("mean"), median(), both("min"), both("max"))
    return (_cut(column.name, 40), *told, psi, column.words)


def _told(value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return _cut(value, 19)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def _kind(dtype: str) -> str:
    return dtype.partition("(")[0]


def _cut(text: str, width: int) -> str:
    flat = "".join(char if char.isprintable() else "?" for char in text)
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("GB is the last unit")
