"""Lost observations are told once each, whatever restarts."""

from __future__ import annotations

import http.server
import socketserver
import threading
from pathlib import Path

from conveyor.delivery.losses import Losses
from conveyor.domain.narrative import sentence
from conveyor.domain.state import Instance
from conveyor.serving.metrics import Metrics
from conveyor.stores.collections import INSTANCES

from .conftest import START, Plane


class _Server(socketserver.UnixStreamServer):
    lost = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        text = Metrics(model="fraud", version=3).text({"conveyor_observations_lost_total": self.server.lost})
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_lost_observations_are_told_once(plane: Plane, tmp_path: Path) -> None:
    context, socket = plane.context(), tmp_path / "s"
    with context.transaction() as tx:
        for id, path in (("a", str(socket)), ("b", str(tmp_path / "gone"))):
            tx.put(INSTANCES, Instance(id, "shop/production/model.fraud", "c", 0, 1, START, path))
    server = _Server(str(socket), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for server.lost in (0, 0, 1200, 1200, 1201, 0, 5):  # the second 0: a new process
            Losses(context).turn()
    finally:
        server.shutdown()
        server.server_close()
    told = [sentence(event) for event in plane.events("signal.observations_lost")]
    assert told == [
        f"Observations lost: fraud@3 answered {rows} rows that its log could not keep." for rows in ("1,200", "1", "5")
    ]
    assert {event.subject for event in plane.events("signal.observations_lost")} == {"model/shop/fraud"}
