"""`conveyor doctor`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json
from conveyor.config.settings import load_settings
from conveyor.domain.finding import Finding, Health, sound

if TYPE_CHECKING:
    from conveyor.delivery.patient import Patient

_MARKS = {Health.WELL: "ok     ", Health.WARNING: "warning", Health.WRONG: "WRONG  "}


def add(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Repair what is safe to repair, and say what was done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at every part, also when nothing runs; exit 1 if something is wrong. Example: conveyor doctor --fix"""
    from conveyor.delivery.doctor import examine

    findings = examine(patient(lifecycle.home()), fix=fix)
    if as_json:
        say_json(findings)
    else:
        for finding in findings:
            _tell(finding)
    if not sound(findings):
        raise typer.Exit(1)


def patient(home: Path) -> Patient:
    from conveyor import app
    from conveyor.delivery.patient import Patient
    from conveyor.effects.installed import stamp

    settings = load_settings(home)
    running = app.processes(settings)
    records = app.records(settings, prepare=False)
    return Patient(
        settings,
        running,
        app.envoy(settings),
        lambda: records,
        lambda: app.objects(settings),
        lambda: lifecycle.client(home).status(),
        lambda: lifecycle.up(home),
        lambda: datetime.now(UTC),
        stamp(),
        lambda: lifecycle.control_stamp(running.list()) if running.alive() else "",
    )


def _tell(finding: Finding) -> None:
    say(f"{_MARKS[finding.health]}  {finding.check:<15}  {finding.found}")
    if finding.fixed:
        say(f"{'':26}  fixed: {finding.fixed}")
    if finding.health is not Health.WELL:
        say(f"{'':26}  why it matters: {finding.why}")
        say(f"{'':26}  what to do: {finding.todo}")
