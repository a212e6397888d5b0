"""A control plane's records and objects in a folder, with a clock that is stepped, and one project."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.config.load import load
from conveyor.config.settings import Settings, make_folders
from conveyor.domain.events import Event
from conveyor.domain.release import Build
from conveyor.domain.state import Arrival, Project
from conveyor.effects.clock import SteppedClock
from conveyor.engine.context import Context
from conveyor.stores.collections import ARRIVALS, BUILDS, PROJECTS
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records

START = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class Plane:
    root: Path
    clock: SteppedClock = field(default_factory=lambda: SteppedClock(START))
    contexts: list[Context] = field(default_factory=list)

    def context(self) -> Context:
        """Of a control plane that starts now; the one before is dead."""
        settings = Settings(self.root / ".conveyor")
        make_folders(settings)
        number = len(self.contexts)
        ids = (f"{number}-{n}" for n in range(1_000_000))
        made = Context(
            settings,
            Records(f"sqlite:///{settings.database}"),
            Objects(str(settings.objects), self.root),
            self.clock,
            lambda: next(ids),
            f"owner-{number}",
        )
        self.clock.step(timedelta(minutes=1))
        assert made.renew()
        self.contexts.append(made)
        return made

    def build(self, data: str) -> Build:
        """The project `shop` as pushed with this text in its conveyor.toml."""
        made = Build("shop", "b", "c", "t", "e", load(f'[project]\nname = "shop"\n{data}'), START)
        with self.contexts[-1].records.transaction() as tx:
            tx.put(PROJECTS, Project("shop", START))
            tx.put(BUILDS, made)
        return made

    def arrivals(self) -> list[Arrival]:
        with self.contexts[-1].records.read() as tx:
            return tx.find(ARRIVALS, limit=10_000, newest=False)

    def events(self, *types: str) -> list[Event]:
        with self.contexts[-1].records.read() as tx:
            return tx.events(types=types, limit=10_000)

    def until(self, turn: Callable[[], object], done: Callable[[], bool], step: float = 0.5) -> None:
        """Turns, half a second of the clock apart, until it is done. What works in threads gets its time."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            turn()
            if done():
                return
            self.clock.step(timedelta(seconds=step))
            time.sleep(0.002)
        raise AssertionError("it never came to pass")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    yield made
    for context in made.contexts:
        context.records.close()
