"""Time as an argument: what needs it takes a `Clock`; tests step one, they do not sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never backwards: for deadlines within a process."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class SteppedClock:
    """Stands still until it is moved; part of the product, for users' tests and for replays."""

    def __init__(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("a clock needs a time with a time zone")
        self._began = now.astimezone(UTC)
        self._passed = timedelta()

    def now(self) -> datetime:
        return self._began + self._passed

    def monotonic(self) -> float:
        return self._passed.total_seconds()

    def step(self, by: timedelta) -> datetime:
        if by < timedelta():
            raise ValueError("time does not go backwards")
        self._passed += by
        return self.now()

    def step_to(self, then: datetime) -> datetime:
        return self.step(then - self.now())
