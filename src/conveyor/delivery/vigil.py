"""The controller that keeps watch over processes: supervisord starts again what ended, this puts it on record."""

from __future__ import annotations

from typing import Any

from conveyor.domain.death import Obituary, Tally, tell
from conveyor.domain.events import Event
from conveyor.domain.state import Cursor
from conveyor.effects.deaths import Deaths
from conveyor.effects.envoy import Envoy
from conveyor.effects.processes import ENVOY
from conveyor.engine.context import Context
from conveyor.errors import Unavailable
from conveyor.stores.collections import CURSORS

_EVERY = 1.0
_CURSOR = "deaths"


class Vigil:
    name = "vigil"

    def __init__(self, context: Context, deaths: Deaths, envoy: Envoy) -> None:
        self._context = context
        self._deaths = deaths
        self._envoy = envoy
        self._tallies: dict[str, Tally] = {}
        self._position: int | None = None
        self._in_flight: int | None = None  # by the last reading: what the proxy takes with it when it is killed

    def turn(self) -> float:
        found, position = self._deaths.since(self._position if self._position is not None else self._begin())
        now = self._context.clock.now()
        tallies, obituaries = tell(self._tallies, found, now)
        if obituaries:
            with self._context.transaction() as tx:
                for obituary in obituaries:
                    tx.append(self._event(obituary))
                tx.put(CURSORS, Cursor(_CURSOR, position))
        self._tallies, self._position = tallies, position
        self._in_flight = self._reading()
        return _EVERY

    def _begin(self) -> int:
        """Where the last control plane left off: what ended while none ran is told as well."""
        with self._context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR)
        if cursor is not None:
            return cursor.seq
        end = self._deaths.end()
        with self._context.transaction() as tx:
            tx.put(CURSORS, Cursor(_CURSOR, end))
        return end

    def _reading(self) -> int | None:
        try:
            return self._envoy.in_flight()
        except Unavailable:  # it has just ended: the reading before is the last there will be
            return self._in_flight

    def _event(self, obituary: Obituary) -> Event:
        times = obituary.times
        reason = obituary.cause if times == 1 else f"{obituary.cause}, {times} times"
        data: dict[str, Any] = {"reason": reason, "cause": obituary.cause, "times": times}
        if obituary.name == ENVOY:
            return self._context.event("proxy.restarted", "process/envoy", lost=self._in_flight, **data)
        return self._context.event("process.died", f"process/{obituary.name}", **data)
