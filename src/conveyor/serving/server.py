"""The model server's process: load and verify, serve, drain on SIGTERM, exit.

One operating-system process with one event loop; it forks nothing, so a kill leaves nothing behind. Several of them
share a port as workers of `conveyor.serving.workers`.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from conveyor.errors import Conflict, Refused
from conveyor.serving import digests
from conveyor.serving.cells import CLOSED, Cells, Row, alone, opened
from conveyor.serving.endpoints import Endpoints, Log
from conveyor.serving.http import Connection, Connections
from conveyor.serving.log import ObservationWriter
from conveyor.serving.model import load
from conveyor.serving.options import Inherited, Options
from conveyor.serving.polling import new_loop
from conveyor.serving.redaction import Redaction
from conveyor.serving.rpc import listen
from conveyor.serving.workers import LEAVING, READY, SHED

BACKLOG = 1024
DRAIN_SECONDS = 30.0


def serve(given: Options, inherited: Inherited | None = None) -> None:
    """Returns after a drained stop. Raises a ConveyorError, before answering anything, when it cannot serve it.

    With what it has `inherited` it is one worker of several.
    """
    digests.verify(given.artifact, given.signed)
    model = load(given.artifact, name=given.name, version=given.version, trusted=given.trusted)
    redaction = Redaction(given.redact, model.manifest.signature.features)
    folder = given.observations
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", hint="--observations names a writable directory") from error
    cells = opened(inherited.cells, inherited.slot, inherited.count) if inherited else alone()
    gc.freeze()  # the model and the modules stay for the process's life; no collection need walk them
    with asyncio.Runner(loop_factory=new_loop) as runner:
        settled = partial(_settled, runner.get_loop()) if given.sync else None
        log: Log = ObservationWriter(folder, figures=cells.mine, settled=settled)
        log.start()
        try:
            runner.run(_serve(Endpoints(model, log, given.limits, cells, redaction), given, inherited, cells))
        finally:
            log.close()


def _settled(loop: asyncio.AbstractEventLoop, tickets: list[asyncio.Future[bool]], kept: bool) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(_tell, tickets, kept)


def _tell(tickets: list[asyncio.Future[bool]], kept: bool) -> None:
    for ticket in tickets:
        if not ticket.done():
            ticket.set_result(kept)


async def _serve(endpoints: Endpoints, given: Options, inherited: Inherited | None, cells: Cells) -> None:
    connections = Connections(partial(_count_lost, cells.mine))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    def connection() -> Connection:
        return Connection(endpoints.handle, endpoints.refuse, connections, max_body=given.max_body)

    listeners, leave = [], None
    end_calls = await listen(endpoints, given, given.grpc_port) if given.grpc_port is not None else None
    if inherited is None:
        try:
            listeners = await _listen(connection, given)
        except Conflict:
            if end_calls is not None:
                await end_calls(0)
            raise
    else:
        leave = _take(connection, inherited, connections, stopping)
    watch = asyncio.create_task(connections.watch(given.limits.seconds))
    await stopping.wait()
    for listener in listeners:
        listener.close()
    if leave is not None:
        leave()
    if given.socket is not None and inherited is None:
        given.socket.unlink(missing_ok=True)
    connections.drain()
    calls = asyncio.ensure_future(end_calls(DRAIN_SECONDS)) if end_calls is not None else None
    try:
        await asyncio.wait_for(connections.empty.wait(), DRAIN_SECONDS)
    except TimeoutError:
        left = len(connections.open)
        print(f"conveyor.serving: {left} requests still open after {DRAIN_SECONDS:g} s, left", file=sys.stderr)
    if calls is not None:
        await calls
    watch.cancel()


async def _listen(connection: Callable[[], Connection], given: Options) -> list[asyncio.Server]:
    loop, host, port = asyncio.get_running_loop(), given.host, given.port
    try:
        listeners = [await loop.create_server(connection, host, port, backlog=BACKLOG)]
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken by another process" if taken else f"cannot be bound: {error.strerror}"
        raise Conflict(f"{host}:{port} {reason}", hint="give another --port") from error
    if given.socket is not None:
        try:
            listeners.append(await loop.create_unix_server(connection, given.socket, backlog=BACKLOG))
        except OSError as error:
            raise Conflict(f"{given.socket} cannot be bound: {error}", hint="give another --socket") from error
    return listeners


def _take(
    connection: Callable[[], Connection], inherited: Inherited, connections: Connections, stopping: asyncio.Event
) -> Callable[[], None]:
    """Takes connections of the parent until that ends; returns what tells it that this worker wants no more."""
    loop = asyncio.get_running_loop()
    parent = socket.socket(fileno=inherited.parent)
    parent.setblocking(False)
    taking: set[asyncio.Task[object]] = set()

    def told() -> None:
        try:
            said, handles, _, _ = socket.recv_fds(parent, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            said, handles = b"", []
        for handle in handles:
            accepted = socket.socket(fileno=handle)  # knows its protocol: asyncio turns Nagle's algorithm off by that
            accepted.setblocking(False)
            task = asyncio.ensure_future(loop.connect_accepted_socket(connection, accepted))
            taking.add(task)
            task.add_done_callback(taking.discard)
        if said == SHED:
            connections.shed(1 / inherited.count)
        elif not said:
            loop.remove_reader(parent)
            stopping.set()

    def leave() -> None:
        with suppress(OSError):  # it has ended
            parent.send(LEAVING)

    loop.add_reader(parent, told)
    parent.send(READY)
    return leave


def _count_lost(row: Row) -> None:
    row[CLOSED] += 1
