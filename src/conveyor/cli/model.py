"""`conveyor model` and `conveyor why`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from conveyor.cli import explain, lifecycle, quality, registry, reproduce
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests

app = typer.Typer(help="Models and their versions.", no_args_is_help=True)
registry.add(app)
quality.add(app)


class _Why(TyperGroup):
    """`why fraud@3` is `why model fraud@3`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["model", *args] if args and "@" in args[0] else args)


why = typer.Typer(cls=_Why, help="Why something happened, or did not.", no_args_is_help=True)
why.command("model")(reproduce.why_model)
why.command("prediction")(explain.why_prediction)
Project = Annotated[str, typer.Option(help="The project, where there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(name: str, limit: int = 20, project: Project = "", as_json: Json = False) -> None:
    """Versions of a model, newest first. Example: conveyor model list fraud"""
    client = lifecycle.client()
    versions = client.model_versions(client.project(project), name, limit)
    if as_json:
        say_json(versions)
        return
    table(
        ("version", "status", "metrics", "made", "reason"),
        [
            (
                f"v{v.version}",
                v.status,
                ", ".join(f"{name} {value:.4g}" for name, value in v.metrics.items()),
                ago(v.created),
                v.reason[:70],
            )
            for v in versions
        ],
    )


@app.command("show")
def show(
    name: str,
    version: Annotated[str, typer.Argument(help="A number or an alias; the newest if not given.")] = "latest",
    project: Project = "",
    as_json: Json = False,
) -> None:
    """A version's gates, figures and origin. Example: conveyor model show fraud 3"""
    client = lifecycle.client()
    found = client.model_version(client.project(project), name, version)
    if as_json:
        say_json(found)
        return
    say(f"{found.id}  {found.status}, {ago(found.created)}, commit {found.commit[:8]}, run {found.run}")
    say(f"  because: {found.reason}")
    say(f"  data: {', '.join(f'{n} v{v}' for n, v in found.data.items())}; labels known until {found.labelled_until}")
    say(f"  ONNX differs from native by at most {found.parity.max_abs_difference:.2g} on {found.parity.rows:,} rows")
    for verdict in found.verdicts:
        say(f"  {verdict.outcome:<22} {verdict.gate}: {verdict.message}")


@app.command("retrain")
def retrain(name: str, reason: str = "a person asked for it", project: Project = "") -> None:
    """Ask for a training now. Example: conveyor model retrain fraud"""
    client = lifecycle.client()
    say(client.retrain(client.project(project), name, requests.Retrain(reason)).message)


@why.command("retrain")
def why_retrain(name: str, limit: int = 20, project: Project = "", as_json: Json = False) -> None:
    """Every decision of the governor, with its reason. Example: conveyor why retrain fraud"""
    client = lifecycle.client()
    found = client.decisions(client.project(project), name, limit)
    if as_json:
        say_json(found)
        return
    for event in found:
        answer = "yes" if event.data["train"] else "no"
        say(f"{event.time:%Y-%m-%d %H:%M:%S}  {answer:<3}  {event.data['rule']:<13}  {event.data['reason']}")
    if not found:
        say(f"Nothing was decided about {name} yet: no trigger has come.")


@why.callback()
def _why() -> None:
    """Why something happened, or did not."""
