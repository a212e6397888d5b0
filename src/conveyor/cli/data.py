"""`conveyor data`: add files, see versions, arrivals and quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import contract, erase, lifecycle, quarantine
from conveyor.cli import table as table_commands
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain.lineage import Kind

app = typer.Typer(help="Datasets and their versions.", no_args_is_help=True)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(contract.app, name="contract")
app.command("infer")(contract.infer)
app.command("erase")(erase.erase)
app.command("erasures")(erase.erasures)
table_commands.add(app)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(name: str, files: list[Path], project: Project = "") -> None:
    """Take files over for a dataset. Example: conveyor data add transactions 2018-04-*.parquet"""
    client = lifecycle.client()
    where = client.project(project)
    for file in files:
        accepted = client.add_data(where, name, file)
        same = f"the same content was taken before, as {accepted.duplicate_of}; not taken again"
        say(f"{file.name}: {same if accepted.duplicate_of else 'taken over, digest ' + accepted.digest[:12]}")
    say(f"`conveyor data log {name}` shows what becomes of it.")


@app.command("log")
def log(name: str, limit: int = 20, project: Project = "", as_json: Json = False) -> None:
    """Versions of a dataset, newest first. Example: conveyor data log transactions"""
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


@app.command("lineage")
def lineage(of: str, project: Project = "", as_json: Json = False) -> None:
    """What came of a file (its name or digest), a dataset version or a model version, and what that came of.

    Example: conveyor data lineage 2018-04-01.parquet
    """
    client = lifecycle.client()
    found = client.lineage(client.project(project), of)
    if as_json:
        say_json(found)
        return
    for kind in Kind:
        nodes = found.of(kind)
        if nodes:
            table((f"{kind}", "made", "what"), [(n.name, ago(n.at) if n.at else "-", n.said) for n in nodes])
    if found.truncated:
        say("There is more than is shown; --json has the same, ask for a later node to see on from there.")
