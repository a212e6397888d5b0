"""`conveyor model quality`: what was expected, what came true, and how far apart they were."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, table
from conveyor.domain.monitor import Quality, Window

HEAD = ("from", "until", "version", "rows", "estimate", "truth", "error")


def add(app: typer.Typer) -> None:
    app.command("quality")(quality)


def quality(
    name: str,
    limit: Annotated[int, typer.Option(help="How many windows, the newest.")] = 20,
    project: Annotated[str, typer.Option(help="The project, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimated and true quality by window, newest first. Example: conveyor model quality fraud"""
    client = lifecycle.client()
    project = client.project(project)
    measures, windows = client.quality(project, name, limit), client.windows(project, name, limit)
    if as_json:
        say_json({"quality": measures, "windows": windows})
        return
    known = max((each.last for each in measures if each.last), default=None)
    ahead = [
        each for each in windows if each.estimate and (known is None or _until(each) is None or _later(each, known))
    ]
    if not measures and not ahead:
        say(f"Nothing is measured of {name} yet: a window closes after so many predictions as monitor.rows says.")
        return
    metric = measures[0].metric if measures else ahead[0].estimate.metric if ahead[0].estimate else ""
    say(f"{metric}; without a truth where labels have not come yet")
    table(HEAD, [*map(_expected, ahead), *map(_true, measures)][:limit])


def _later(window: Window, known: datetime) -> bool:
    until = _until(window)
    return until is not None and until > known


def _until(window: Window) -> datetime | None:
    return window.last_event or window.last


def _expected(window: Window) -> tuple[str, ...]:
    first = window.first_event or window.first
    return (
        _day(first),
        _day(_until(window)),
        f"v{window.version}",
        f"{window.rows:,}",
        _interval(window.estimate),
        "-",
        "-",
    )


def _true(each: Quality) -> tuple[str, ...]:
    error = "-" if each.error is None else f"{each.error:+.4f}"
    figures = (f"v{each.version}", f"{each.rows:,}", _interval(each.estimate), _interval(each), error)
    return (_day(each.first), _day(each.last), *figures)


def _interval(of: Any) -> str:
    if of is None or of.value is None:
        return "-"
    return f"{of.value:.4f}" + (f" ({of.low:.4f} to {of.high:.4f})" if of.low is not None else "")


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
