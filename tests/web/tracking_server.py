"""The web server with its tracking, in a process of its own: `python -m web.tracking_server HOME PORT KIND`, run in
`tests/`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from conveyor.app import tracking
from conveyor.web.auth import Guard
from conveyor.web.mlflow.application import Mlflow
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.trained import TrainedModels
from conveyor.web.server import application

from .world import TOKEN, empty, full


def main(home: Path, port: int, kind: str) -> None:
    world = (full if kind == "full" else empty)(home, port)
    settings = world.context.settings
    trained = TrainedModels(world.context, world.desk.registry)
    service = Service(tracking(settings), world.context, lambda: trained)
    app = Mlflow(
        application(world.desk, settings, TOKEN, lambda: None, service), service, Guard(TOKEN, world.desk.tokens.find)
    )
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
