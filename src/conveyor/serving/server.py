"""The model server's process: load and verify, serve, drain on SIGTERM, exit.

One operating-system process with one event loop; it forks nothing, so a kill leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import sys
from pathlib import Path

from conveyor.errors import Conflict, Refused
from conveyor.serving.endpoints import Endpoints
from conveyor.serving.http import Connection, Connections
from conveyor.serving.log import ObservationWriter
from conveyor.serving.model import load

MAX_BODY_BYTES = 32 * 1024 * 1024
BACKLOG = 1024
DRAIN_SECONDS = 30.0


def serve(
    artifact: Path,
    *,
    name: str,
    version: int,
    host: str,
    port: int,
    observations: Path,
    max_body: int = MAX_BODY_BYTES,
    trusted: tuple[str, ...] = (),
) -> None:
    """Returns after a drained stop. Raises a ConveyorError, before answering anything, when it cannot serve it."""
    model = load(artifact, name=name, version=version, trusted=trusted)
    try:
        observations.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{observations}: {error.strerror}", hint="--observations names a writable directory") from error
    log = ObservationWriter(observations)
    log.start()
    gc.freeze()  # the model and the modules stay for the process's life; no collection need walk them
    try:
        asyncio.run(_serve(Endpoints(model, log), host, port, max_body))
    finally:
        log.close()


async def _serve(endpoints: Endpoints, host: str, port: int, max_body: int) -> None:
    loop = asyncio.get_running_loop()
    connections = Connections()

    def connection() -> Connection:
        return Connection(endpoints.handle, endpoints.refuse, connections, max_body=max_body)

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        listener = await loop.create_server(connection, host, port, backlog=BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken by another process" if taken else f"cannot be bound: {error.strerror}"
        raise Conflict(f"{host}:{port} {reason}", hint="give another --port") from error
    await stopping.wait()
    listener.close()
    connections.drain()
    try:
        await asyncio.wait_for(connections.empty.wait(), DRAIN_SECONDS)
    except TimeoutError:
        left = len(connections.open)
        print(f"conveyor.serving: {left} requests still open after {DRAIN_SECONDS:g} s, left", file=sys.stderr)
