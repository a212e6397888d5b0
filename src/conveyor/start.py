"""`python -m conveyor.start HOME`: the process of the control plane.

Tracking answers first, from what is light; all else is imported and put together meanwhile, and requests for it wait.
So a training's log calls, and every restart or upgrade, wait for a fraction of the whole start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian.constants import Interfaces
from granian.server.embed import Server

from conveyor.config.settings import Settings, load_settings
from conveyor.delivery.tokens import Tokens
from conveyor.errors import ConveyorError
from conveyor.foundation import context, tracking
from conveyor.web.auth import Guard
from conveyor.web.mlflow.application import Mlflow
from conveyor.web.mlflow.service import Service

if TYPE_CHECKING:
    from conveyor.app import Complete

log = logging.getLogger(__name__)
_FIRST = 0.05  # seconds that the socket gets before the imports begin


class Later:
    """An application that is still being put together; who asks it waits."""

    def __init__(self, made: Future[Complete]) -> None:
        self._made = made

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        complete = await asyncio.shield(asyncio.wrap_future(self._made))
        await complete.app(scope, receive, send)


def serve(home: Path) -> None:
    """Runs the control plane in this process until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = load_settings(home)
    shared, tracked = context(settings), tracking(settings)
    token = settings.token_file.read_text().strip()
    made: Future[Complete] = Future()
    service = Service(tracked, shared, lambda: made.result().trained)
    app = Mlflow(Later(made), service, Guard(token, Tokens(shared).find))

    def complete() -> None:
        try:
            from conveyor.app import complete  # heavy: it is what is not waited for

            made.set_result(complete(settings, shared, tracked, token, service))
        except BaseException as error:  # told, and ended with, by the loop
            made.set_exception(error)

    asyncio.run(_serve(app, settings, made, complete))


async def _serve(app: Mlflow, settings: Settings, made: Future[Complete], complete: Callable[[], None]) -> None:
    server = Server(app, address=settings.host, port=settings.api_port, interface=Interfaces.ASGINL, log_access=False)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.ensure_future(server.serve())
    over = {serving, asyncio.ensure_future(stopping.wait())}
    await asyncio.wait(over, timeout=_FIRST, return_when=asyncio.FIRST_COMPLETED)
    threading.Thread(target=complete, name="completing", daemon=True).start()
    whole = asyncio.wrap_future(made)
    done, _ = await asyncio.wait({whole, *over}, return_when=asyncio.FIRST_COMPLETED)
    failed = whole.done() and whole.exception() is not None
    if failed:
        log.error("the control plane cannot start", exc_info=whole.exception())
    elif not done & over:
        done, _ = await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    if whole.done() and not failed:
        plane = whole.result().plane
        plane.reconciler.stop()
        if not plane.reconciler.alive:
            with contextlib.suppress(ConveyorError):
                plane.context.release()
    if serving not in done:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=5)
    # What still runs are threads of requests that wait for a client; all state is on disk.
    os._exit(1 if failed or serving in done else 0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
