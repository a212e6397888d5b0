"""A shop of the standard library: `/orders` reads what its version of the code knows. Options make it misbehave."""

from __future__ import annotations

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from store import connect

READ = {"1": "SELECT id, total FROM orders", "2": "SELECT id, total_cents FROM orders",
        "3": "SELECT id, total_cents FROM orders"}  # fmt: skip
WRITE = {"1": "(id, total)", "2": "(id, total_cents)", "3": "(id, total_cents)"}
version, *options = sys.argv[1:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(503 if "--ill" in options else 200, "well")
            return
        try:
            connection = connect()
            if self.path.startswith("/buy/"):
                connection.execute(f"INSERT INTO orders {WRITE[version]} VALUES ({int(self.path[5:])}, 1)")
            rows = connection.execute(READ[version]).fetchall()
            connection.close()
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            self.answer(500, "error")
            return
        self.answer(200, f"version {version}: {len(rows)} orders")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


print(f"serving from {os.environ['DATABASE_URL']}", flush=True)
if "--deaf" in options:
    time.sleep(600)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
