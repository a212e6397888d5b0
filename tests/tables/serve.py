"""The API over a home's records and objects, in a process of its own: `python serve.py HOME`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from conveyor.app import context
from conveyor.config.settings import load_settings
from conveyor.delivery.desk import Desk
from conveyor.delivery.rows import Rows
from conveyor.stores.rowlog import RowLog
from conveyor.web.server import application


def main(home: Path) -> None:
    settings = load_settings(home)
    shared = context(settings)
    rows = Rows(shared, RowLog(settings.rows, settings.rows_backlog_mb * 2**20))
    desk = Desk(shared, lambda: None, lambda: True, dict, rows)
    app = application(desk, settings, settings.token_file.read_text(), lambda: None)
    server = Server(app, address=settings.host, port=settings.api_port, interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
