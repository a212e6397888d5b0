"""Checks of what is on record: database, lease, clock, objects, and states that wait."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import islice
from pathlib import Path

from conveyor.delivery.patient import Patient, Seen, warning, well, wrong
from conveyor.domain.run import OVERDUE, RunState, StepState
from conveyor.effects.identity import gone
from conveyor.engine.context import LEASE, LEASE_TTL
from conveyor.errors import CorruptObject
from conveyor.stores.collections import ARRIVALS, ROLLOUTS, RUNS
from conveyor.stores.schema import MIGRATIONS

_LOG_BYTES = 256 << 20
_SAMPLE, _SAMPLE_BYTES = 50, 256 << 20
_SLACK = timedelta(minutes=1)
_LONG = timedelta(days=1)


def records(patient: Patient) -> Seen:
    if damage := patient.records().damage():
        todo = "Stop with `conveyor down`, keep a copy of conveyor.db, and restore the last backup."
        return wrong(f"the database is damaged: {damage[0]}", todo)
    return well("the database finds nothing wrong with itself")


def log(patient: Patient) -> Seen:
    path = _log(patient)
    size = path.stat().st_size if path.exists() else 0
    if size > _LOG_BYTES:
        return warning(f"{path.name} has {size / 1e6:.0f} MB", "`conveyor doctor --fix` writes it back.")
    return well(f"{size / 1e6:.0f} MB")


def checkpoint(patient: Patient) -> str:
    patient.records().checkpoint()
    return "asked SQLite to write its log back"


def migrations(patient: Patient) -> Seen:
    applied = patient.records().applied()
    missing = [each.number for each in MIGRATIONS if each.number not in applied]
    if missing:
        return wrong(f"migration {missing[0]} was not applied", "`conveyor up` applies it.")
    return well(f"{len(applied)} applied, the newest is {max(applied)}")


def lease(patient: Patient) -> Seen:
    with patient.records().read() as tx:
        held = tx.lease(LEASE)
    now = patient.now()
    if held is None:
        return warning("no control plane ever took it", "`conveyor up` starts one.")
    if gone(held.owner):
        return warning(f"its owner, pid {held.owner.split('/')[1]} has ended", "The next control plane takes it over.")
    if held.expires > now + LEASE_TTL + _SLACK:
        return wrong(f"it is held until {held.expires:%Y-%m-%d %H:%M}: the clock was changed", "Set the clock right.")
    if held.expires < now:
        late = (now - held.expires).total_seconds()
        return warning(f"it expired {late:.0f} s ago", "`conveyor up`; if one runs, see control.log.")
    return well(f"held by {held.owner.rpartition('/')[0]}")


def clock(patient: Patient) -> Seen:
    with patient.records().read() as tx:
        newest = tx.events(limit=1, newest=True)
    now = patient.now()
    if newest and newest[0].time > now + _SLACK:
        ahead = newest[0].time - now
        return wrong(f"the newest event is {ahead} in the future: the clock went back", "Set the clock right (NTP).")
    return well(f"{now:%Y-%m-%d %H:%M:%S} UTC, after the newest event")


def objects(patient: Patient) -> Seen:
    """A sample: every object is verified anyway when it is read."""
    store, seen, size = patient.objects(), 0, 0
    for path in _sample(patient.settings.objects):
        size += path.stat().st_size
        if size > _SAMPLE_BYTES:
            break
        digest = path.parent.name + path.name
        try:
            store.path(digest)
        except CorruptObject as error:
            return wrong(error.message, error.hint)
        seen += 1
    return well(f"a sample of {seen} is whole" if seen else "none is on this disk")


def waiting(patient: Patient) -> Seen:
    now = patient.now()
    with patient.records().read() as tx:
        runs = tx.find(RUNS, where={"state": RunState.RUNNING}, limit=1000)
        rollouts = tx.find(ROLLOUTS, where={"state": "open"}, limit=1000)
        held = tx.count(ARRIVALS, where={"state": "ingesting"}) if not runs else 0
    for run in runs:
        for step in run.steps:
            if step.state is StepState.RUNNING and step.started and now - step.started > step.timeout + 2 * OVERDUE:
                return wrong(f"step {step.name} of run {run.id} is past its timeout", f"conveyor run cancel {run.id}")
    for rollout in rollouts:
        if now - rollout.created > _LONG:
            return warning(f"rollout {rollout.id} is open since {rollout.created:%Y-%m-%d}", "See `conveyor status`.")
    if held:
        return warning(f"{held} files are being ingested by no run", "The control plane lets them wait again.")
    return well(f"{len(runs)} runs and {len(rollouts)} rollouts are open, none past its time")


def _log(patient: Patient) -> Path:
    return patient.settings.database.with_name(f"{patient.settings.database.name}-wal")


def _sample(root: Path) -> list[Path]:
    """From random folders, without listing all objects."""
    folders = [path for path in root.iterdir() if path.is_dir() and len(path.name) == 2] if root.is_dir() else []
    chosen = random.sample(folders, min(len(folders), _SAMPLE))
    return [path for folder in chosen for path in islice(folder.iterdir(), 1)]
