"""The model server's process: load and verify, serve, drain on SIGTERM, exit.

It is one operating-system process: granian is embedded in this process's event loop and forks no worker, so that a kill
leaves nothing behind. (Measured beside a forked worker: the same requests/s at 16 clients.)
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from pathlib import Path

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from conveyor.errors import Conflict, Refused
from conveyor.serving.endpoints import MAX_BODY_BYTES, Endpoints
from conveyor.serving.log import ObservationWriter
from conveyor.serving.model import load

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
) -> None:
    """Returns after a drained stop. Raises a ConveyorError, before binding, when the model cannot be served."""
    model = load(artifact, name=name, version=version)
    try:
        observations.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{observations}: {error.strerror}", hint="--observations names a writable directory") from error
    _require_free(host, port)
    log = ObservationWriter(observations)
    log.start()
    try:
        asyncio.run(_serve(Endpoints(model, log, max_body=max_body), host, port))
    finally:
        log.close()


async def _serve(endpoints: Endpoints, host: str, port: int) -> None:
    server = Server(
        endpoints,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve())
    draining = asyncio.Event()

    def stop() -> None:
        server.stop()  # type: ignore[no-untyped-call]
        draining.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    stopped = asyncio.create_task(draining.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    done, _ = await asyncio.wait((serving,), timeout=DRAIN_SECONDS)
    if not done:
        print(f"conveyor.serving: requests still open after {DRAIN_SECONDS:g} s, left", file=sys.stderr)
        serving.cancel()
    elif error := serving.exception():
        raise error


def _require_free(host: str, port: int) -> None:
    """granian binds with SO_REUSEPORT: a second server on a taken port would silently get half of the connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is taken by another process" if taken else f"cannot be bound: {error.strerror}"
            raise Conflict(f"{host}:{port} {reason}", hint="give another --port") from error
