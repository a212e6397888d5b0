"""The controller that asks model servers what they could not write: a full disk keeps no record of what it lost."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

from conveyor.domain.state import Cursor, Instance
from conveyor.effects.sockets import UnixConnection
from conveyor.engine.context import Context
from conveyor.stores.collections import CURSORS, INSTANCES

_EVERY = 5.0
_TIMEOUT = 1.0
_LOST = re.compile(rb'^conveyor_observations_lost_total\{model="([^"]*)",version="(\d+)"\} (\d+)$', re.MULTILINE)


class Losses:
    name = "losses"

    def __init__(self, context: Context) -> None:
        self._context = context

    def turn(self) -> float:
        with self._context.records.read() as tx:
            instances = [instance for instance in tx.find(INSTANCES, limit=10_000) if instance.socket]
        for instance in instances:
            found = _LOST.search(_metrics(instance.socket))
            if found is not None:
                self._tell(instance, found[1].decode(), int(found[2]), int(found[3]))
        return _EVERY

    def _tell(self, instance: Instance, model: str, version: int, lost: int) -> None:
        """What was lost since the last time; a server that was started anew counts from zero."""
        context, cursor = self._context, f"lost/{instance.id}"
        with context.records.read() as tx:
            known = tx.get(CURSORS, cursor)
        told = known.seq if known else 0
        if lost == told:
            return
        rows = lost - told if lost > told else lost
        with context.transaction() as tx:
            tx.put(CURSORS, Cursor(cursor, lost))
            if rows:
                project = instance.target.partition("/")[0]
                message = f"{model}@{version} answered {rows:,} rows that its log could not keep"
                about = {"message": message, "version": version, "rows": rows}
                tx.append(context.event("signal.observations_lost", f"model/{project}/{model}", project, **about))


def _metrics(socket: str) -> bytes:
    """Empty when it does not answer; that it ended is told elsewhere."""
    connection = UnixConnection(Path(socket), timeout=_TIMEOUT)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()
