"""The web server with its tracking, in a process of its own: `python -m web.tracking_server HOME PORT KIND`, run in
`tests/`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from conveyor.app import tracking
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.trained import TrainedModels
from conveyor.web.server import application

from .world import TOKEN, empty, full


def main(home: Path, port: int, kind: str) -> None:
    world = (full if kind == "full" else empty)(home, port)
    settings = world.context.settings
    service = Service(tracking(settings), world.context, TrainedModels(world.context, world.desk.registry))
    app = application(world.desk, settings, TOKEN, lambda: None, service)
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
