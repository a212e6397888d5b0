"""The registry's commands of `conveyor model`: aliases, promote, undo, compare, rm."""

from __future__ import annotations

import getpass
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.errors import InputRejected

Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the act.")]


def add(app: typer.Typer) -> None:
    for name, command in (
        ("alias", alias),
        ("aliases", aliases),
        ("undo", undo),
        ("promote", promote),
        ("compare", compare),
        ("rm", remove),
        ("verify", verify),
        ("provenance", provenance),
        ("card", card),
        ("export", export),
    ):
        app.command(name)(command)


def number(version: str) -> int:
    plain = version.removeprefix("v")
    if not plain.isdecimal():
        raise typer.BadParameter(f"{version} is no version; give a number: 3 or v3")
    return int(plain)


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def alias(
    name: str,
    alias: str,
    version: Annotated[str, typer.Argument(help="A number; none with --remove.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    reason: Reason = "asked for by a person",
    project: Project = "",
) -> None:
    """Point an alias of yours to a version. Example: conveyor model alias fraud champion 3 --reason review"""
    if bool(version) == remove:
        raise typer.BadParameter("give a version, or --remove")
    client = lifecycle.client()
    request = requests.MoveAlias(number(version) if version else None, user(), reason)
    say(client.move_alias(client.project(project), name, alias, request).message)


def aliases(name: str, limit: int = 20, project: Project = "", as_json: Json = False) -> None:
    """Where the aliases of a model point, and how they came there. Example: conveyor model aliases fraud"""
    client = lifecycle.client()
    project = client.project(project)
    found, moves = client.model_aliases(project, name), client.alias_moves(project, name, limit)
    if as_json:
        say_json({"aliases": found, "moves": moves})
        return
    table(("alias", "version"), [(each.name, f"v{each.version}") for each in sorted(found, key=lambda a: a.name)])
    say()
    places = [(m.name, _at(m.previous), _at(m.version), ago(m.moved), m.by or "-", m.reason[:70]) for m in moves]
    table(("moved", "from", "to", "when", "by", "reason"), places)


def undo(name: str, alias: str, reason: Reason = "undone by a person", project: Project = "") -> None:
    """Put an alias back to where it was before; `live` goes back by a rollout.

    Example: conveyor model undo fraud champion
    """
    client = lifecycle.client()
    say(client.undo_alias(client.project(project), name, alias, requests.UndoAlias(user(), reason)).message)


def promote(
    name: str,
    version: str,
    environment: str = "production",
    again: Annotated[bool, typer.Option("--again", help="Also what failed in a rollout, or was ruled out.")] = False,
    reason: Reason = "asked for by a person",
    project: Project = "",
) -> None:
    """Bring a version live, by a rollout; refused unless all its gates passed.

    Example: conveyor model promote fraud 3
    """
    client = lifecycle.client()
    request = requests.PromoteModel(environment, again, user(), reason)
    say(client.promote_model(client.project(project), name, number(version), request).message)


def compare(name: str, one: str, other: str, project: Project = "", as_json: Json = False) -> None:
    """In what two versions (numbers or aliases) differ. Example: conveyor model compare fraud 3 live"""
    client = lifecycle.client()
    found = client.compare_models(client.project(project), name, one, other)
    if as_json:
        say_json(found)
        return
    rows = [(d.what, d.name, _figure(d.one), _figure(d.other)) for d in found.differences]
    if rows:
        table(("what", "", f"v{found.one.version}", f"v{found.other.version}"), rows)
    inputs = ", ".join(found.changed) or "nothing: they were trained on the same code, data and parameters"
    say(f"What went in differs in: {inputs}.")


def remove(name: str, version: str, reason: Reason = "asked for by a person", project: Project = "") -> None:
    """Remove a version; refused while an alias, a release or a rollback needs it. Example: conveyor model rm fraud 2"""
    client = lifecycle.client()
    request = requests.RemoveModel(user(), reason)
    say(client.remove_model(client.project(project), name, number(version), request).message)


def verify(
    what: Annotated[str, typer.Argument(help="NAME, or NAME@VERSION.")],
    every: Annotated[bool, typer.Option("--all", help="Also versions that nothing needs.")] = False,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Check bytes and signature, load and score, now; exit code 1 where something is wrong.

    Without a version: those that an alias, a release or a rollback needs. Example: conveyor model verify fraud@3
    """
    name, _, version = what.partition("@")
    client = lifecycle.client()
    found = client.verify_models(client.project(project), name, requests.VerifyModel(version, every))
    if as_json:
        say_json(found)
    for each in () if as_json else found:
        fine = f"ok{', signed' if each.signed else ''}; loaded and scored in {each.seconds:.2f} s"
        say(f"{each.id}  {each.problem or fine}")
    if not found and not as_json:
        say(f"Nothing needs a version of {name}; --all verifies every one.")
    if any(each.problem for each in found):
        raise typer.Exit(1)


def provenance(
    name: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
    key: Annotated[bool, typer.Option("--key", help="Print the public key that proves it, as PEM.")] = False,
    project: Project = "",
) -> None:
    """The signed statement of how a version was made: in-toto, SLSA, DSSE. Example: conveyor model provenance fraud"""
    client = lifecycle.client()
    raw = client.provenance_key() if key else client.provenance(client.project(project), name, version)
    say(raw.decode().rstrip())


def card(
    name: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
    project: Project = "",
) -> None:
    """The model card, in Markdown with a Hugging Face header. Example: conveyor model card fraud > README.md"""
    client = lifecycle.client()
    say(client.model_card(client.project(project), name, version).rstrip())


def export(
    name: str,
    version: Annotated[str, typer.Argument(help="A number or an alias.")],
    target: Annotated[Path, typer.Argument(help="A file that ends with .zip, or a folder that is not there yet.")],
    project: Project = "",
) -> None:
    """Artifact, card, plots and signed provenance, to be served or scored elsewhere.

    Example: conveyor model export fraud 3 fraud-3
    """
    client = lifecycle.client()
    project = client.project(project)
    if target.exists():
        raise InputRejected(f"{target} is there already", hint="Name another place, or remove that one.")
    with tempfile.TemporaryFile() as file:
        client.export_model(project, name, version, file)
        file.seek(0)
        if target.suffix == ".zip":
            with target.open("wb") as kept:
                shutil.copyfileobj(file, kept)
        else:
            zipfile.ZipFile(file).extractall(target)
    say(f"{name} {version} is in {target}")


def _at(version: int | None) -> str:
    return "-" if version is None else f"v{version}"


def _figure(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
