"""What the control plane stands on: settings become stores and a clock here. Light: a start waits for no more than this
before it answers the calls of tracking."""

from __future__ import annotations

import secrets

from conveyor.config.settings import Settings
from conveyor.effects import identity
from conveyor.effects.clock import SystemClock
from conveyor.engine.context import Context
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records
from conveyor.stores.tracking import experiments
from conveyor.stores.tracking.database import TrackingDatabase


def records(settings: Settings, *, prepare: bool = True) -> Records:
    return Records(settings.database_url or f"sqlite:///{settings.database}", prepare=prepare)


def objects(settings: Settings) -> Objects:
    return Objects(settings.objects_url or str(settings.objects), settings.home / "cache")


def context(settings: Settings) -> Context:
    return Context(settings, records(settings), objects(settings), SystemClock(), _new_id, identity.owner())


def tracking(settings: Settings) -> TrackingDatabase:
    database = TrackingDatabase(settings.database_url or f"sqlite:///{settings.tracking}")
    now = int(SystemClock().now().timestamp() * 1000)
    database.write(lambda session: experiments.ensure(session, experiments.DEFAULT, now))
    return database


def _new_id() -> str:
    return secrets.token_hex(6)
