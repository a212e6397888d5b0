"""The model server's process: load and verify, serve, drain on SIGTERM, exit.

One operating-system process with one event loop; it forks nothing, so a kill leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from conveyor.errors import Conflict, Refused
from conveyor.serving.bulk import Limits
from conveyor.serving.endpoints import Endpoints, Log
from conveyor.serving.http import Connection, Connections
from conveyor.serving.log import ObservationWriter
from conveyor.serving.model import load
from conveyor.serving.polling import new_loop

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
    socket: Path | None = None,
    limits: Limits,
    sync: bool = False,
) -> None:
    """Returns after a drained stop. Raises a ConveyorError, before answering anything, when it cannot serve it.

    With a `socket` it answers there too: the proxy reaches it by less work than through a port. `sync`: no answer
    leaves before its observation is on disk.
    """
    model = load(artifact, name=name, version=version, trusted=trusted)
    try:
        observations.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{observations}: {error.strerror}", hint="--observations names a writable directory") from error
    gc.freeze()  # the model and the modules stay for the process's life; no collection need walk them
    with asyncio.Runner(loop_factory=new_loop) as runner:
        log: Log = ObservationWriter(observations, settled=partial(_settled, runner.get_loop()) if sync else None)
        log.start()
        try:
            runner.run(_serve(Endpoints(model, log, limits), host, port, max_body, socket, limits.seconds))
        finally:
            log.close()


def _settled(loop: asyncio.AbstractEventLoop, tickets: list[asyncio.Future[bool]], kept: bool) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(_tell, tickets, kept)


def _tell(tickets: list[asyncio.Future[bool]], kept: bool) -> None:
    for ticket in tickets:
        if not ticket.done():
            ticket.set_result(kept)


async def _serve(
    endpoints: Endpoints, host: str, port: int, max_body: int, socket: Path | None, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    connections = Connections()

    def connection() -> Connection:
        return Connection(endpoints.handle, endpoints.refuse, connections, max_body=max_body)

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        listeners = [await loop.create_server(connection, host, port, backlog=BACKLOG)]
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken by another process" if taken else f"cannot be bound: {error.strerror}"
        raise Conflict(f"{host}:{port} {reason}", hint="give another --port") from error
    if socket is not None:
        try:
            listeners.append(await loop.create_unix_server(connection, socket, backlog=BACKLOG))
        except OSError as error:
            raise Conflict(f"{socket} cannot be bound: {error}", hint="give another --socket") from error
    watch = asyncio.create_task(connections.watch(seconds))
    await stopping.wait()
    for listener in listeners:
        listener.close()
    if socket is not None:
        socket.unlink(missing_ok=True)
    connections.drain()
    try:
        await asyncio.wait_for(connections.empty.wait(), DRAIN_SECONDS)
    except TimeoutError:
        left = len(connections.open)
        print(f"conveyor.serving: {left} requests still open after {DRAIN_SECONDS:g} s, left", file=sys.stderr)
    watch.cancel()
