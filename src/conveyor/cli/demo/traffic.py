"""Live traffic, in a process of its own: clients that pay and look at pages, without retries, counting what they get.

`python -m conveyor.cli.demo.traffic PORT CLIENTS PAYMENTS.json COUNTERS.json` until it is told to stop by SIGTERM.
PAYMENTS
is read again whenever it changes; COUNTERS is rewritten twice a second and at the end.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PACE = 0.2  # seconds between two requests of a client
_TIMEOUT = 30.0
_NEW_CONNECTION = 0.3  # share of requests on a connection of their own


@dataclass(slots=True)
class Counts:
    """Outcomes by the version that answered ("-" when none did), and the slowest milliseconds seen."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def note(self, version: str, cause: str, seconds: float) -> None:
        with self.lock:
            self.sent += 1
            self.latencies.append(seconds)
            if cause:
                self.failed[version] += 1
                self.causes[cause] += 1
            else:
                self.answered[version] += 1

    def as_dict(self) -> dict[str, Any]:
        with self.lock:
            ranked = sorted(self.latencies)
            p99 = ranked[int(len(ranked) * 0.99)] if ranked else 0.0
            p50 = ranked[len(ranked) // 2] if ranked else 0.0
            return {
                "sent": self.sent,
                "answered": dict(self.answered),
                "failed": dict(self.failed),
                "causes": dict(self.causes),
                "p50_ms": round(p50 * 1000, 1),
                "p99_ms": round(p99 * 1000, 1),
            }


class Payments:
    """The transactions of the day, given out one after another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = 0
        self._bodies: list[bytes] = []
        self._at = 0

    def next(self) -> bytes | None:
        with self._lock:
            stamp = self._path.stat().st_mtime_ns if self._path.exists() else 0
            if stamp != self._stamp:
                self._stamp = stamp
                self._bodies = [json.dumps(row).encode() for row in json.loads(self._path.read_bytes())]
                self._at = 0
            if not self._bodies:
                return None
            self._at += 1
            return self._bodies[self._at % len(self._bodies)]


def client(number: int, port: int, payments: Payments, counts: Counts, stop: threading.Event) -> None:
    rng = random.Random(number)
    kept: http.client.HTTPConnection | None = None
    while not stop.wait(_PACE * rng.uniform(0.5, 1.5)):
        body = payments.next() if rng.random() < 0.8 else None
        fresh = rng.random() < _NEW_CONNECTION
        connection = _connection(port) if fresh or kept is None else kept
        started = time.monotonic()
        version, cause, reusable = _ask(connection, body)
        counts.note(version, cause, time.monotonic() - started)
        if fresh or not reusable:
            connection.close()
            kept = None if connection is kept else kept
        else:
            kept = connection
    if kept is not None:
        kept.close()


def _ask(connection: http.client.HTTPConnection, body: bytes | None) -> tuple[str, str, bool]:
    """(version that answered, cause of failure or "", whether the connection can be used again)."""
    try:
        if body is None:
            connection.request("GET", "/")
        else:
            connection.request("POST", "/pay", body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        return "-", type(error).__name__, False
    version = response.getheader("x-conveyor-version") or "-"
    return version, f"status {response.status}" if response.status >= 400 else "", not response.will_close


def _connection(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def main(port: int, clients: int, payments: Path, counters: Path) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    counts, source = Counts(), Payments(payments)
    threads = [threading.Thread(target=client, args=(number, port, source, counts, stop)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while not stop.wait(0.5):
        _write(counters, counts)
    for thread in threads:
        thread.join()
    _write(counters, counts)


def _write(path: Path, counts: Counts) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(counts.as_dict()))
    temporary.replace(path)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
