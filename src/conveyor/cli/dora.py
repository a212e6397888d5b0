"""`conveyor dora`: how well changes of code and of models reach an environment."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, span, table
from conveyor.domain.dora import Keys, Spread


def add(root: typer.Typer) -> None:
    root.command("dora")(dora)


def dora(
    window: Annotated[str, typer.Option(help="How far back: 7d, 30d, 90d.")] = "30d",
    environment: Annotated[str, typer.Option("--env", help="The environment.")] = "production",
    project: Annotated[str, typer.Option(help="The project, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The four keys of delivery, for code and for models. Example: conveyor dora --window 90d"""
    found = lifecycle.client().dora(project, environment, window)
    if as_json:
        say_json(found)
        return
    say(f"{found.project} in {found.environment}, {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC\n")
    code, models = _told(found.code), _told(found.models)
    names = ("deployments", "lead time for changes", "change failure rate", "time to restore")
    table(("", "code", "models"), list(zip(names, code, models, strict=True)))


def _told(keys: Keys) -> tuple[str, str, str, str]:
    rate = "-" if keys.failure_rate is None else f"{keys.failure_rate:.1%} ({keys.failed} of {keys.tried})"
    still = f", {keys.unrestored} not restored" if keys.unrestored else ""
    return (
        f"{keys.deployments} ({keys.per_day:.2g} a day)",
        _spread(keys.lead_time),
        rate,
        _spread(keys.restore) + still,
    )


def _spread(spread: Spread) -> str:
    if spread.median is None or spread.p90 is None:
        return "-"
    return f"{span(spread.median)} median, {span(spread.p90)} p90, of {spread.count}"
