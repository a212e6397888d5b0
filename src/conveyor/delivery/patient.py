"""What `conveyor doctor` looks at, directly: it must find out also when the control plane is down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from conveyor.config.settings import Settings
from conveyor.domain.finding import Health
from conveyor.domain.views import StatusView
from conveyor.effects.envoy import Envoy
from conveyor.effects.processes import Processes, ProcessInfo
from conveyor.errors import Unavailable
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records


@dataclass(frozen=True, slots=True)
class Patient:
    """`ask` asks the control plane itself; `start` is `conveyor up`. `records` and `objects` open as they are."""

    settings: Settings
    processes: Processes
    envoy: Envoy
    records: Callable[[], Records]
    objects: Callable[[], Objects]
    ask: Callable[[], StatusView]
    start: Callable[[], object]
    now: Callable[[], datetime]
    installed: str  # this command's stamp
    running: Callable[[], str]  # the control plane's; empty when none runs

    def listed(self) -> dict[str, ProcessInfo]:
        """Nothing where supervisord does not answer: a check of its own says that."""
        try:
            return self.processes.list()
        except Unavailable:
            return {}

    def folder(self, name: str) -> Path:
        return self.settings.home / name


@dataclass(frozen=True, slots=True)
class Seen:
    health: Health
    found: str
    todo: str = ""


def well(found: str) -> Seen:
    return Seen(Health.WELL, found)


def warning(found: str, todo: str) -> Seen:
    return Seen(Health.WARNING, found, todo)


def wrong(found: str, todo: str) -> Seen:
    return Seen(Health.WRONG, found, todo)
