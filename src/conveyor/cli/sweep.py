"""`conveyor sweep`: many trainings of a model with other params, to find the best."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.domain.sweep import OPEN, Sweep, Trial, TrialState

app = typer.Typer(help="Find a model's best params by many trainings.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[str, typer.Option("--project", help="Needed where there are several.")]
Name = Annotated[str, typer.Argument(metavar="SWEEP", help="NAME, or NAME@NUMBER of an earlier one.")]


@app.command("start")
def start(
    name: Annotated[str, typer.Argument(metavar="SWEEP")],
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    project: Project = "",
    as_json: Json = False,
) -> None:
    """Begin a sweep that conveyor.toml declares. Example: conveyor sweep start forest --wait"""
    client = lifecycle.client()
    where = client.project(project or None)
    found = client.start_sweep(where, name)
    while wait and found.state in OPEN:
        time.sleep(0.5)
        found = client.sweep(where, f"{name}@{found.number}")
    if as_json:
        say_json(found)
    elif wait:
        _show(found)
    else:
        say(f"sweep {found.id} began; `conveyor sweep show {name}` tells how it goes")
    if wait and found.state != "succeeded":
        raise typer.Exit(1)


@app.command("list")
def list_(project: Project = "", limit: int = 20, as_json: Json = False) -> None:
    """Sweeps, newest first. Example: conveyor sweep list"""
    client = lifecycle.client()
    found = client.sweeps(client.project(project or None), limit)
    if as_json:
        say_json(found)
        return
    rows = [
        (each.id, each.config.model, each.state, _progress(each), _value(each.best), ago(each.created))
        for each in found
    ]
    table(("sweep", "model", "state", "trials", "best", "started"), rows)


@app.command("show")
def show(name: Name, project: Project = "", as_json: Json = False) -> None:
    """A sweep's trials, the best first. Example: conveyor sweep show forest"""
    client = lifecycle.client()
    found = client.sweep(client.project(project or None), name)
    say_json(found) if as_json else _show(found)


@app.command("cancel")
def cancel(name: Name, reason: str = "cancelled by a person", project: Project = "") -> None:
    """End a sweep and its trials. Example: conveyor sweep cancel forest"""
    client = lifecycle.client()
    say(client.cancel_sweep(client.project(project or None), name, requests.Cancel(reason)).message)


def _show(sweep: Sweep) -> None:
    say(f"sweep {sweep.id} of model {sweep.config.model}: {sweep.state}, {_progress(sweep)} trials")
    ended = [each for each in sweep.trials if each.value is not None]
    ended.sort(key=lambda each: (-sweep.sign * (each.value or 0.0), each.number))
    others = [each for each in sweep.trials if each.value is None]
    names = list(sweep.config.space)
    rows = [
        (each.number, each.state, _value(each), *(_text(each.params.get(name)) for name in names), each.error[:60])
        for each in (*ended, *others)
    ]
    table(("trial", "state", "value", *names, ""), rows)
    if sweep.version is not None and sweep.best is not None:
        said = ", ".join(f"{name} = {_text(value)}" for name, value in sweep.best.params.items())
        say(f"version {sweep.version} was trained with the best: params = {{ {said} }}")
    if sweep.error:
        say(f"error: {sweep.error}")


def _progress(sweep: Sweep) -> str:
    ended = sum(each.state is not TrialState.RUNNING for each in sweep.trials)
    return f"{ended} of {sweep.config.trials}"


def _value(trial: Trial | None) -> str:
    return "-" if trial is None or trial.value is None else f"{trial.value:.4f}"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f'"{value}"' if isinstance(value, str) else str(value)
