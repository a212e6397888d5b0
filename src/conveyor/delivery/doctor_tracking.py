"""Checks of the database of tracked runs: whole, and its log written back."""

from __future__ import annotations

import sqlite3

from conveyor.delivery.patient import Patient, Seen, warning, well, wrong
from conveyor.errors import Unavailable
from conveyor.stores.tracking import health

_LOG_BYTES = 256 << 20


def tracking(patient: Patient) -> Seen:
    path = patient.settings.tracking
    if patient.settings.database_url:
        return well("kept by the server that keeps the records")
    if not path.exists():
        return well("nothing was tracked yet")
    if damage := health.damage(path):
        todo = f"Stop with `conveyor down`, keep a copy of {path.name}, and restore the last backup."
        return wrong(f"the database of tracked runs is damaged: {damage}", todo)
    log = health.log_of(path)
    size, kept = path.stat().st_size, log.stat().st_size if log.exists() else 0
    if kept > _LOG_BYTES:
        return warning(f"{log.name} has {kept / 1e6:.0f} MB", "`conveyor doctor --fix` writes it back.")
    return well(f"whole, {size / 1e6:.0f} MB, and {kept / 1e6:.0f} MB of log")


def checkpoint(patient: Patient) -> str:
    try:
        health.checkpoint(patient.settings.tracking)
    except sqlite3.Error as error:
        raise Unavailable(f"the tracked runs cannot be reached: {error}", hint="Restore the last backup.") from error
    return "asked SQLite to write the log of tracked runs back"
