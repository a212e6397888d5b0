"""`conveyor reproduce` and `conveyor why MODEL@VERSION`."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json
from conveyor.client import Client
from conveyor.domain import reproduction, wire
from conveyor.domain.gate import Outcome
from conveyor.domain.lineage import Kind
from conveyor.domain.model import ModelVersion
from conveyor.domain.reproduction import Reproduction
from conveyor.domain.run import RunState
from conveyor.errors import StepFailed

Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WAIT = 24 * 3600.0
_MOST = 20


def add(app: typer.Typer) -> None:
    app.command("reproduce")(reproduce)


def reproduce(
    what: Annotated[str, typer.Argument(help="NAME@VERSION; a number or an alias. NAME: the newest.")],
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Train a version again from its commit, data, environment and seed, and compare; exit code 1 where it differs.

    Nothing comes from a cache, and no version is made. Example: conveyor reproduce fraud@3
    """
    name, _, version = what.partition("@")
    client = lifecycle.client()
    project = client.project(project)
    asked = client.reproduce(project, name, version or "latest")
    if not as_json:
        say(asked.message)
    run = client.wait(asked.run, seconds=_WAIT)
    if run.state is not RunState.SUCCEEDED:
        raise StepFailed(
            f"run {run.id} has {run.state}: {run.error}", hint=f"`conveyor logs {run.id}` shows its output."
        )
    found = wire.from_builtins(run.result, Reproduction)
    if as_json:
        say_json(found)
    for line in () if as_json else reproduction.told(found):
        say(line)
    if not found.equal:
        raise typer.Exit(1)


def why_model(
    what: Annotated[str, typer.Argument(help="NAME@VERSION; a number or an alias. NAME: the newest.")],
    project: Project = "",
    as_json: Json = False,
) -> None:
    """What a version came of, why it passed or not, and where it went.

    The word "model" may be left out. Example: conveyor why model fraud@3
    """
    name, _, version = what.partition("@")
    client = lifecycle.client()
    project = client.project(project)
    found = client.model_version(project, name, version or "latest")
    lineage = client.lineage(project, f"{name}@{found.version}")
    if as_json:
        say_json({"version": found, "lineage": lineage})
        return
    _origin(found)
    files = lineage.of(Kind.ARRIVAL)
    for node in files[:_MOST]:
        say(f"  file     {node.name}: {node.said}")
    if len(files) > _MOST:
        say(f"  file     and {len(files) - _MOST} more; --json has all")
    say("where it went")
    for node in lineage.of(Kind.RELEASE):
        say(f"  release  {node.name}, {ago(node.at)}: {node.said}")
    for node in lineage.of(Kind.MODEL):
        if node.name == found.id:
            say(f"  served   {node.said}")
    _pointers(client, project, name, found)


def _origin(found: ModelVersion) -> None:
    say(f"{found.id} is {found.status}, made {ago(found.created)}")
    say("what it came of")
    say(f"  reason   {found.reason}")
    say(f"  code     commit {found.commit[:12]}, digest {found.code[:12] or '-'}; run {found.run}")
    params = ", ".join(f"{name}={value}" for name, value in sorted(found.params.items()))
    say(f"  params   {params or 'none'}")
    for verdict in found.verdicts:
        mark = "gate     " if verdict.outcome is Outcome.PASS else "gate !   "
        say(f"  {mark}{verdict.gate}: {verdict.outcome}; {verdict.message}")
    for name, number in found.data.items():
        say(f"  data     {name} v{number}")


def _pointers(client: Client, project: str, name: str, found: ModelVersion) -> None:
    for alias in client.model_aliases(project, name):
        if alias.version == found.version:
            say(f"  alias    {alias.name}")
    for each in client.verifications(project, name):
        if each.id == found.id:
            say(f"  verified {ago(each.at)}: {each.problem or 'ok'}")
