"""A small shop with a database and a migration script, of the standard library only, for pushes that go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from conveyor.cli import lifecycle
from conveyor.config.settings import HOME_NAME

from .system import System

NAME = "orders"
CONFIG = """
[project]
name = "orders"

[service.web]
run = "python web.py"
test = "python -m unittest -q tests"
migrate = "python migrate.py"
smoke = "python smoke.py"
database = "DATABASE_URL"
lock_timeout = "2s"
memory_mb = 150

[service.web.rollout]
steps = [20, 100]
hold = "4s"
watch = "6s"
drain = "1s"
start_timeout = "8s"
abort = { min_requests = 10, regression = 0.3 }
"""
WEB = """
import os, sqlite3, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = os.environ["DATABASE_URL"].removeprefix("sqlite:///")
BORN = time.monotonic()


def healthy():
    return True


def orders():
    with sqlite3.connect(PATH, timeout=10) as database:
        return str(database.execute("select count(customer) from orders").fetchone()[0])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        try:
            if self.path == "/healthz":
                status, text = (200, "well") if healthy() else (503, "ill")
            else:
                status, text = 200, orders()
        except sqlite3.Error as error:
            status, text = 500, str(error)
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
"""
MIGRATE = """
import os, sqlite3, time

STEPS = ["create table orders (id integer primary key, customer text, note text)"]

database = sqlite3.connect(os.environ["DATABASE_URL"].removeprefix("sqlite:///"), isolation_level=None, timeout=10)
database.execute("create table if not exists done (step integer primary key)")
for number, step in enumerate(STEPS):
    if not database.execute("select 1 from done where step = ?", (number,)).fetchone():
        for line in step.split(";"):
            exec(line) if line.startswith("time.") else database.execute(line)
        database.execute("insert into done values (?)", (number,))
"""
SMOKE = """
import os, urllib.request

assert urllib.request.urlopen(os.environ["CONVEYOR_URL"] + "/orders", timeout=10).status == 200
"""
TESTS = (
    "import unittest\n\n\nclass Test(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(1 + 1, 2)\n"
)
FILES = {"conveyor.toml": CONFIG, "web.py": WEB, "migrate.py": MIGRATE, "smoke.py": SMOKE, "tests.py": TESTS}
STEP = '"create table orders (id integer primary key, customer text, note text)"'


class Orders(System):
    def start(self) -> None:
        self.source.mkdir()
        self.settings = lifecycle.up(self.root / HOME_NAME)
        self.client = lifecycle.client(self.settings.home)
        self._git("init", "-q", "-b", "main")
        self.reset()

    def reset(self) -> None:
        """The files of the version that is well."""
        for path in self.source.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, text in FILES.items():
            self.write(name, text)

    def remote(self, token: str) -> str:
        return f"http://conveyor:{token}@127.0.0.1:{self.settings.api_port}/git/{NAME}.git"

    def change(self, path: str, old: str, new: str) -> Callable[[], None]:
        return lambda: self.replace(path, old, new)
