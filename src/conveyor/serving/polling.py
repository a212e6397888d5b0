"""An event loop that stays awake between requests that follow closely upon each other.

A processor that falls asleep takes its time to wake up: on a virtual machine a fifth of a one-row prediction's time
and more. So the loop looks for events again and again for a moment before it goes to sleep, but only while the last
wait was that short: a server with little or no traffic sleeps as ever. Each look offers the processor to others first.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from collections.abc import Callable

AWAKE_SECONDS = 0.0006
"""How long it stays awake: it does while it is asked 1,700 times a second or more."""

Events = list[tuple[selectors.SelectorKey, int]]


class AwakeSelector(selectors.DefaultSelector):
    """`clock` is in seconds and never goes back."""

    def __init__(self, awake: float = AWAKE_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self._awake = awake
        self._clock = clock
        self._busy = False  # the last wait was a short one

    def select(self, timeout: float | None = None) -> Events:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        begun = self._clock()
        until = begun + (self._awake if timeout is None else min(self._awake, timeout))
        while self._busy and self._clock() < until:
            if found := super().select(0):
                return found
            os.sched_yield()
        rest = None if timeout is None else max(0.0, timeout - (self._clock() - begun))
        found = super().select(rest)
        self._busy = bool(found) and self._clock() < until
        return found


def new_loop() -> asyncio.AbstractEventLoop:
    """With a second processor it stays awake; on a single one it would be in its clients' way."""
    several = len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1
    return asyncio.SelectorEventLoop(AwakeSelector() if several else None)
