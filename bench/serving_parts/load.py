"""Starting servers, asking them, and what their processes hold in memory.

Run by itself it is the load generator: one process, raw sockets under epoll, prebuilt requests, keep-alive.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Started:
    pid: int
    ready: float  # seconds until it answered


@contextmanager
def started(
    command: list[str], port: int, path: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Started]:
    """Runs a server until it answers 200 on `path`; ends it, and what it started, afterwards."""
    sink, begun = subprocess.DEVNULL, time.monotonic()
    process = subprocess.Popen(command, env=env, cwd=cwd, stdout=sink, stderr=sink, start_new_session=True)
    try:
        deadline = begun + 90
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError(f"{command[0]} did not come up (exit code {process.returncode})")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                time.sleep(0.02)
        yield Started(process.pid, time.monotonic() - begun)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def memory_mb(pid: int) -> float:
    """What the process and its descendants hold, shared pages counted once among them."""
    rollup, total = Path(f"/proc/{pid}/smaps_rollup"), 0.0
    for line in rollup.read_text().splitlines():
        if line.startswith("Pss:"):
            total = int(line.split()[1]) / 1024
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        total += sum(memory_mb(int(child)) for child in children.read_text().split())
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate(port: int, clients: int, seconds: float, path: str, body: bytes) -> dict[str, float]:
    """Runs the load generator in a process of its own: a short warm-up, then the figures."""
    found: dict[str, float] = {}
    for length in (min(1.0, seconds), seconds):
        command = [sys.executable, __file__, str(port), str(clients), str(length), path]
        done = subprocess.run(command, input=body, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
    return found


def generator(port: int, clients: int, seconds: float, path: str, body: bytes) -> dict[str, float]:
    """Every client sends its next request when its last answer is whole. Figures: requests/s, milliseconds."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    poller, clock = select.epoll(), time.perf_counter
    connections: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    partial: dict[int, bytes] = {}
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        poller.register(connection.fileno(), select.EPOLLIN)
    latencies: list[float] = []
    failed = 0
    begun = clock()
    for number, connection in connections.items():
        sent[number] = clock()
        connection.sendall(request)
    alone = [(number, select.EPOLLIN) for number in connections] if clients == 1 else None  # it can wait by reading
    size = 0  # of the last whole answer; most are of one size
    while (now := clock()) - begun < seconds:
        for number, _ in alone or poller.poll(1.0):
            connection = connections[number]
            data = connection.recv(65536)
            answer = partial.pop(number, b"") + data
            if not data:
                raise SystemExit("the server closed a connection")
            if len(answer) != size and not whole(answer):
                partial[number] = answer
                continue
            now, size = clock(), len(answer)
            latencies.append(now - sent[number])
            failed += not answer.startswith(b"HTTP/1.1 200")
            sent[number] = now
            connection.sendall(request)
    if not latencies:
        raise SystemExit(f"no answer within {seconds:g} s")
    latencies.sort()
    count = len(latencies)
    p50, p99 = (round(latencies[min(count - 1, int(count * share))] * 1000, 3) for share in (0.5, 0.99))
    return {"rate": round(count / (now - begun), 1), "p50": p50, "p99": p99, "failed": failed}


def whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.index(b"content-length:") + 15
    return len(answer) >= end + 4 + int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else end])


if __name__ == "__main__":
    to, many, long, where = sys.argv[1:5]
    print(json.dumps(generator(int(to), int(many), float(long), where, sys.stdin.buffer.read())))
