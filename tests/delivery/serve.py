"""The API over a lake, in a process of its own: `python serve.py ROOT PORT TOKEN`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

sys.path.insert(0, str(Path(__file__).parents[1]))

from conveyor.web.server import application
from delivery.lake import Lake

if __name__ == "__main__":
    lake = Lake.__new__(Lake)
    lake.open(Path(sys.argv[1]))
    app = application(lake.desk, lake.context.settings, sys.argv[3], lambda: None)
    server = Server(app, address="127.0.0.1", port=int(sys.argv[2]), interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())
