"""`conveyor data erase`: a subject's rows go from all versions of a dataset."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.domain.erasure import ErasureView
from conveyor.errors import InputRejected

Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def erase(
    name: str,
    key: Annotated[str, typer.Option(help="COLUMN=VALUE of the rows; COLUMN=- reads the value from standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Delete the old bytes at once, where nothing uses them.")] = False,
    why: Annotated[str, typer.Option("--reason", help="Why; it is kept on record.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Take the rows of a subject out. Example: conveyor data erase transactions --key CUSTOMER_ID=42 --dry-run"""
    column, given, value = key.partition("=")
    if not (column and given):
        raise InputRejected(f"{column!r} names no rows", hint="Write --key COLUMN=VALUE.")
    if value == "-":
        value = sys.stdin.readline().rstrip("\r\n")
    client = lifecycle.client()
    request = requests.Erase(column, value, dry_run, now, getpass.getuser(), why)
    view = client.erase(client.project(project), name, request)
    if as_json:
        say_json(view)
        return
    for line in told(view):
        say(line)


def erasures(
    name: str,
    lift: Annotated[str, typer.Option(help="Let such rows come again: the erasure's id. What went stays gone.")] = "",
    why: Annotated[str, typer.Option("--reason", help="Why it is lifted; it is kept on record.")] = "",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """What was erased, when and by whom; never whose rows. Example: conveyor data erasures transactions"""
    client = lifecycle.client()
    if lift:
        say(client.lift_erasure(client.project(project), name, lift, requests.Lift(getpass.getuser(), why)).message)
        return
    found = client.erasures(client.project(project), name)
    if as_json:
        say_json(found)
        return
    rows = [
        (each.id, each.column, f"{each.rows:,}", len(each.versions), ago(each.at), each.by, each.why, each.lifted)
        for each in found
    ]
    table(("erasure", "column", "rows", "versions", "when", "by", "why", "lifted"), rows)


def told(view: ErasureView) -> list[str]:
    """What was done, or would be, in sentences."""
    did, erasure = ("would be" if view.dry_run else "were"), view.erasure
    touched = [model for model in erasure.models if model.touched]
    if not erasure.versions and not erasure.quarantined and not erasure.originals:
        lines = ["No row has it." if not view.known else "It was erased before; nothing is left of it."]
    else:
        versions = f"{len(erasure.versions)} version{'' if len(erasure.versions) == 1 else 's'}"
        lines = [f"{erasure.rows:,} rows {did} taken out of {versions}, {erasure.quarantined:,} out of the quarantine."]
    if erasure.originals:
        files = ", ".join(erasure.originals[:5]) + (" …" if len(erasure.originals) > 5 else "")
        lines.append(f"The original bytes of {len(erasure.originals)} files {did} given up with it: {files}.")
    for model in touched:
        rows = f"{model.training:,} rows trained on, {model.holdout:,} judged by"
        lines.append(f"Model {model.id} ({model.status}): {rows}{'' if model.exact else ', at most or through steps'}.")
    if erasure.runs:
        lines.append(f"Under way on them: run {', '.join(erasure.runs)}; `conveyor run cancel` ends a run.")
    for file in erasure.unread:
        lines.append(f"{file} was refused and cannot be read: look into it yourself.")
    if view.waiting:
        lines.append(f"{view.waiting} files wait for ingest: rows of it will be held in quarantine. Erase again then.")
    if not view.dry_run and (view.condemned or view.freed):
        lines.append(
            f"{view.freed} objects were deleted."
            if view.freed
            else "The old bytes go with the next `conveyor gc` after the grace time; --now deletes them at once."
        )
    if not view.dry_run and not view.known:
        lines.append(f"Erasure {erasure.id} is on record; rows of it that come later go to quarantine.")
    return lines
