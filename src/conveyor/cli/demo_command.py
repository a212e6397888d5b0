"""`conveyor demo`: the whole story at speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder of daily Parquet files; a simulator's if not given.")
    ] = None,
    weeks: Annotated[int, typer.Option(help="Weeks of scoring.")] = 8,
    clients: Annotated[int, typer.Option(help="Concurrent clients.")] = 16,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page here.")] = None,
    workdir: Annotated[Path | None, typer.Option(help="Where to play it; a fresh folder if not given.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave everything running at the end.")] = False,
) -> None:
    """Push, train, serve, drift, retrain, roll back: the loop on real input. Example: conveyor demo --weeks 8"""
    from rich.console import Console

    from conveyor.cli.demo import story

    options = story.DemoOptions(
        data=data, weeks=weeks, clients=clients, report=report, html=html, workdir=workdir, keep=keep
    )
    raise typer.Exit(story.run(options, Console()))
