"""The one loop: every controller observes, decides, persists and acts, again and again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from conveyor.engine.context import LEASE_TTL, Context
from conveyor.errors import ConveyorError, LeaseLost

log = logging.getLogger(__name__)
_MOST = 1.0  # seconds between turns when nothing is open
_BACKOFF = (0.2, 1.0, 5.0, 15.0)  # seconds after an unexpected error, by how often it came in a row


class Controller(Protocol):
    """A part of the loop. `turn` does what can be done now, without waiting; says in how many seconds to come back."""

    name: str

    def turn(self) -> float: ...


@dataclass(slots=True)
class _Slot:
    controller: Controller
    due: float = 0.0
    failures: int = 0


class Reconciler:
    """Runs controllers in one thread. A controller that fails is tried again later and holds up no other."""

    def __init__(self, context: Context, controllers: Sequence[Controller]) -> None:
        self._context = context
        self._slots = [_Slot(controller) for controller in controllers]
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._renewed = float("-inf")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def poke(self) -> None:
        """Something happened: look at everything now."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            poked = self._wake.is_set()
            self._wake.clear()
            wait = self.once(time.monotonic(), poked=poked)
            self._wake.wait(wait)

    def once(self, monotonic: float, *, poked: bool = False) -> float:
        """One pass over the controllers that are due; the seconds until the next is."""
        if monotonic - self._renewed > LEASE_TTL.total_seconds() / 3:
            if not self._renew():
                return _MOST
            self._renewed = monotonic
        for slot in self._slots:
            if self._stop.is_set():
                return 0.0
            if poked or slot.due <= monotonic:
                slot.due = monotonic + self._turn(slot)
        return min(_MOST, max(0.01, min(slot.due for slot in self._slots) - monotonic))

    def _renew(self) -> bool:
        try:
            return self._context.renew()
        except ConveyorError as error:
            log.error("cannot renew the lease: %s", error)
            return False

    def _turn(self, slot: _Slot) -> float:
        try:
            seconds = slot.controller.turn()
        except LeaseLost:
            self._renewed = float("-inf")
            return _MOST
        except Exception as error:  # a controller's fault must not stop the others; it is told, and tried again
            return self._failed(slot, error)
        slot.failures = 0
        return seconds

    def _failed(self, slot: _Slot, error: Exception) -> float:
        log.exception("%s failed", slot.controller.name)
        wait = _BACKOFF[min(slot.failures, len(_BACKOFF) - 1)]
        slot.failures += 1
        if slot.failures in (1, 10, 100):
            event = self._context.event(
                "system.error", slot.controller.name, error=f"{type(error).__name__}: {error}", failures=slot.failures
            )
            try:
                with self._context.transaction() as tx:
                    tx.append(event)
            except ConveyorError as second:
                log.error("cannot record the error: %s", second)
        return wait
