"""`conveyor run`: runs, one of them, and cancelling it."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.default import DefaultGroup
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests, wire
from conveyor.domain.junit import Report
from conveyor.domain.run import Run
from conveyor.errors import InputRejected

app = typer.Typer(help="Run the steps of the project in this folder; list, show and cancel runs.", cls=DefaultGroup)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("steps")
def steps(
    wanted: Annotated[list[str] | None, typer.Argument(metavar="[STEP]...", help="None: all of them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run them although nothing changed.")] = False,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Another value.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Without what the steps print.")] = False,
    server: Annotated[bool, typer.Option("--server", help="At the control plane, in the newest build.")] = False,
    commit: Annotated[str, typer.Option("--commit", help="With --server: in the build of this commit.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="With --server: do not wait for its end.")] = False,
    project: Annotated[str, typer.Option("--project", help="With --server, where there are several.")] = "",
    as_json: Json = False,
) -> None:
    """Run steps of the project in this folder, and what they need; `steps` may be left out. Also of a dvc.yaml.

    Example: conveyor run steps train --param lr=0.1
    """
    if not server and (commit or detach or project):
        raise InputRejected("--commit, --detach and --project say how to run at a server", hint="Add --server.")
    if server:
        from conveyor.cli.run_there import run_there

        code = run_there(
            wanted or (),
            project=project,
            commit=commit,
            dry_run=dry_run,
            force=force,
            params=param or (),
            as_json=as_json,
            quiet=quiet,
            detach=detach,
        )
        if code:
            raise typer.Exit(code)
        return
    from conveyor.cli.run_here import run_here  # `run list` need not wait for it

    code = run_here(wanted or (), dry_run=dry_run, force=force, params=param or (), as_json=as_json, quiet=quiet)
    if code:
        raise typer.Exit(code)


@app.command("list")
def list_(kind: str = "", limit: int = 20, as_json: Json = False) -> None:
    """Runs, newest first. Example: conveyor run list --kind train"""
    found = lifecycle.client().runs(kind=kind, limit=limit)
    if as_json:
        say_json(found)
        return
    table(
        ("run", "kind", "state", "about", "started", "error"),
        [
            (r.id, r.kind, r.state, r.subject[:32], ago(r.created), r.error.splitlines()[0][:80] if r.error else "")
            for r in found
        ],
    )


@app.command("show")
def show(id_: Annotated[str, typer.Argument(metavar="RUN")], as_json: Json = False) -> None:
    """A run's steps and outcome. Example: conveyor run show 3f2a1b9c8d7e"""
    found = lifecycle.client().run(id_)
    if as_json:
        say_json(found)
        return
    say(f"{found.kind} {found.id}: {found.state}, {found.reason or found.subject}")
    for step in found.steps:
        seconds = f"{(step.ended - step.started).total_seconds():.1f} s" if step.started and step.ended else ""
        why = found.params.get("why", {}).get(step.name, "") if found.kind == "run" and not step.error else ""
        said = step.error or (f"({why})" if why else "")
        say(f"  {step.name:<20} {step.state:<10} {seconds:>9}  {said}".rstrip())
    _tests(found)
    if found.error:
        say(f"error: {found.error}")


@app.command("cancel")
def cancel(id_: Annotated[str, typer.Argument(metavar="RUN")], reason: str = "cancelled by a person") -> None:
    """End a run. Example: conveyor run cancel 3f2a1b9c8d7e"""
    say(lifecycle.client().cancel(id_, requests.Cancel(reason)).message)


def _tests(run: Run) -> None:
    """What the tests of a build reported."""
    if "tests" not in run.result:
        return
    report = wire.from_builtins(run.result["tests"], Report)
    say(f"tests: {report.told}")
    for each in report.failing:
        say(f"  failed: {each.name}")
        say("".join(f"    {line}\n" for line in each.message.splitlines()).rstrip("\n"))
    for problem in report.unread:
        say(f"  not read: {problem}")
