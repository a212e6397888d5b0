"""The commands of `conveyor data` for datasets of files, as Typer has them: arguments, options, help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import drift
from conveyor.cli import table as tables
from conveyor.cli.files import export as exporting
from conveyor.cli.files import folder, opening, remotes, upkeep, versions
from conveyor.cli.files import status as statuses
from conveyor.cli.quick import find_home

Project = Annotated[str, typer.Option(help="The project, where several have a dataset of this name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(help="How many are printed.")]


def add_to(app: typer.Typer) -> None:
    """`add` and `log` serve tables too, where a project declares one of this name."""
    for name, command in (
        ("add", add),
        ("status", status),
        ("log", log),
        ("diff", diff),
        ("drift", drift.command),
        ("show", show),
        ("checkout", checkout),
        ("export", export),
        ("tag", tag),
        ("rm", rm),
        ("verify", verify),
        ("gc", gc),
        ("push", push),
        ("pull", pull),
    ):
        app.command(name)(command)


def add(
    name: str,
    paths: Annotated[list[str] | None, typer.Argument(help="Files or folders; those added last if not given.")] = None,
    at: Annotated[str, typer.Option(help="Put them into this folder of the dataset.")] = "",
    reason: Annotated[str, typer.Option("-m", "--reason", help="Why, for the log.")] = "",
    project: Project = "",
    new: Annotated[
        bool, typer.Option("--new", help="A new dataset of files, though its name is almost another's.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a version of files or of a folder. Example: conveyor data add images ./images -m "march's pictures"

    One folder is the dataset; files stand in it under their names. Where a project declares a table of this name, the
    files are taken over as rows of it.
    """
    if opening.is_table(name):
        tables.add_rows(name, [Path(path) for path in paths or ()], project)
        return
    folder.add(name, paths or (), at=at, reason=reason, project=project, new=new, as_json=as_json)


def status(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets; all if not given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every path.")] = False,
    as_json: Json = False,
) -> None:
    """What changed in working folders; exit 1 if something did. Example: conveyor data status images"""
    code = statuses.report(find_home(), names or (), as_json=as_json, everything=everything)
    if code:
        raise typer.Exit(code)


def log(
    name: str,
    limit: Limit = 20,
    before: Annotated[int | None, typer.Option(help="Only versions before this number.")] = None,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Versions of a dataset, newest first. Example: conveyor data log images"""
    if opening.is_table(name):
        tables.log_rows(name, limit, project, as_json)
        return
    versions.log(name, limit, before=before, project=project, as_json=as_json)


def diff(
    old: str,
    new: Annotated[str, typer.Argument(help="The newest version if not given.")] = "",
    limit: Limit = 20,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """What differs between two versions. Example: conveyor data diff images@v3 images@v5"""
    if opening.is_table(old):
        tables.diff_command(old, new or "latest", project, as_json)
        return
    versions.diff(old, new, limit=limit, project=project, as_json=as_json)


def show(
    name: str,
    path: Annotated[str, typer.Argument(help="Only this file, or this folder's.")] = "",
    limit: Limit = 20,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """A version and its files. Example: conveyor data show images@v3 train/cats"""
    if opening.is_table(name):
        tables.show_command(name, project, as_json)
        return
    versions.show(name, path, limit=limit, project=project, as_json=as_json)


def checkout(
    name: str,
    to: Annotated[str, typer.Option(help="The folder; the dataset's own if not given.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were changed.")] = False,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Put a version's files into a folder. Example: conveyor data checkout images@v3 --to ./old

    Only what differs is written. Files of yours that were changed stop it before anything is written.
    """
    folder.checkout(name, to=to, force=force, project=project, as_json=as_json)


def export(
    name: str,
    to: Annotated[str, typer.Argument(help="The file to write; - for the standard output.")],
    path: Annotated[str, typer.Option(help="Of files: only this one, as it is.")] = "",
    window: Annotated[str, typer.Option(help="Of a table: only the newest stretch of event time, such as 28d.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Write a version: of files as a tar archive, of a table as Parquet or CSV.

    Example: conveyor data export images@v3 images.tar
    """
    if opening.is_table(name):
        tables.export_command(name, Path(to), window, project, as_json)
        return
    exporting.export(name, to, path=path, project=project)


def tag(
    name: str,
    word: Annotated[str, typer.Argument(help="The tag; without one, all are listed.")] = "",
    move: Annotated[bool, typer.Option("--move", help="Take it from the version that has it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag; the version stays.")] = False,
    reason: Annotated[str, typer.Option(help="Of a table: why, for the record.")] = "asked for by a person",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Give a version a name of its own. Example: conveyor data tag images@v3 clean"""
    if opening.is_table(name):
        tables.tag_command(name, word, remove, reason, project, as_json)
        return
    versions.tag(name, word, move=move, delete=remove, project=project)


def rm(name: str, project: Project = "") -> None:
    """Remove a version; gc frees what only it needed. Example: conveyor data rm images@v3

    Refused while it is tagged, or while a model version that something needs was trained on it.
    """
    versions.rm(name, project=project)


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Take good copies of what is damaged from a remote.")
    ] = False,
    source: Annotated[str, typer.Option("--from", help="The remote; all that are known if not given.")] = "",
    as_json: Json = False,
) -> None:
    """Read everything, name what is damaged; exit 1 if something is. Example: conveyor data verify --repair"""
    code = upkeep.verify(repair=repair, source=source, as_json=as_json)
    if code:
        raise typer.Exit(code)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")] = False,
    grace: Annotated[str, typer.Option(help="Nothing younger is touched.")] = "1d",
    as_json: Json = False,
) -> None:
    """Free what no version needs. Example: conveyor data gc --dry-run"""
    upkeep.gc(grace=grace, dry_run=dry_run, as_json=as_json)


def push(
    name: str,
    to: Annotated[str, typer.Option(help="A folder or a URL; the last one used if not given.")] = "",
    renamed: Annotated[str, typer.Option("--as", help="The dataset's name there.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Send what a remote lacks. Example: conveyor data push images --to s3://bucket/data"""
    remotes.push(name, to=to, renamed=renamed, project=project, as_json=as_json)


def pull(
    name: str,
    source: Annotated[str, typer.Option("--from", help="A folder or a URL; the last one used if not given.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Take what a remote has. Example: conveyor data pull images --from s3://bucket/data"""
    remotes.pull(name, source=source, project=project, as_json=as_json)
