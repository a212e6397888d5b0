"""`conveyor data`: add files, see versions, arrivals and quarantine."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import contract, erase, lifecycle, quarantine
from conveyor.cli import table as table_commands
from conveyor.cli.files import app as files
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain.lineage import Kind

app = typer.Typer(help="Datasets and their versions.", no_args_is_help=True)
files.add_to(app)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(contract.app, name="contract")
app.command("infer")(contract.infer)
app.command("erase")(erase.erase)
app.command("erasures")(erase.erasures)
table_commands.add(app)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
