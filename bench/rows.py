"""How many rows a second are taken by request, durable before the answer. A running Conveyor of its own; one line.

    python bench/rows.py [--seconds 5] [--clients 8]

Measured are requests of one row, of 100 and of 10,000, as NDJSON, and of 10,000 as Arrow; clients of one process each
share the machine with the server. Beside it: how often a second this disk can sync at all, one write after the other.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import polars as pl

from conveyor.cli import lifecycle
from conveyor.config.settings import HOME_NAME

CONFIG = '[project]\nname = "bench"\n\n[data.events]\nkey = "id"\n'
MEDIA = {"ndjson": "application/x-ndjson", "arrow": "application/vnd.apache.arrow.stream"}


def body(format_: str, rows: int) -> bytes:
    made = [{"id": n, "amount": n / 7, "kind": "card", "at": "2026-01-01T10:00:00"} for n in range(rows)]
    if format_ == "ndjson":
        return b"".join(json.dumps(row).encode() + b"\n" for row in made)
    target = io.BytesIO()
    pl.DataFrame(made).write_ipc_stream(target)
    return target.getvalue()


def client(port: int, token: str, media: str, raw: bytes, until: float, counts: multiprocessing.Queue[tuple]) -> None:
    connection, done, refused = http.client.HTTPConnection("127.0.0.1", port), 0, 0
    while time.time() < until:
        headers = {"authorization": f"Bearer {token}", "content-type": media, "idempotency-key": str(uuid.uuid4())}
        connection.request("POST", "/v1/data/events/rows", raw, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 202:
            done += 1
        elif answer.status == 429:
            refused += 1
            time.sleep(0.2)
        else:
            raise SystemExit(f"status {answer.status}")
    counts.put((done, refused))


def load(port: int, token: str, format_: str, rows: int, clients: int, seconds: float) -> tuple[float, int]:
    """(requests a second, how many were asked to come again)."""
    counts: multiprocessing.Queue[tuple] = multiprocessing.Queue()
    arguments = (port, token, MEDIA[format_], body(format_, rows), time.time() + seconds, counts)
    workers = [multiprocessing.Process(target=client, args=arguments) for _ in range(clients)]
    for worker in workers:
        worker.start()
    found = [counts.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(done for done, _ in found) / seconds, sum(refused for _, refused in found)


def syncs(folder: Path, seconds: float = 1.0) -> float:
    done, until = 0, time.perf_counter() + seconds
    with (folder / "syncs").open("wb") as file:
        while time.perf_counter() < until:
            file.write(b"x" * 100)
            file.flush()
            os.fsync(file.fileno())
            done += 1
    return done / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / HOME_NAME
        settings = lifecycle.up(home)
        try:
            token = settings.token_file.read_text().strip()
            push(Path(folder), settings.api_port, token)
            parts = [f"{syncs(Path(folder)):,.0f} syncs/s alone"]
            for format_, rows in (("ndjson", 1), ("ndjson", 100), ("ndjson", 10_000), ("arrow", 10_000)):
                requests, refused = load(settings.api_port, token, format_, rows, asked.clients, asked.seconds)
                parts.append(
                    f"{format_} x {rows:,}: {requests * rows:,.0f} rows/s in {requests:,.0f} requests/s"
                    + (f" ({refused} times 429)" if refused else "")
                )
            print(f"rows, {asked.clients} clients: " + "; ".join(parts))
        finally:
            lifecycle.down(home)


def push(folder: Path, port: int, token: str) -> None:
    source = folder / "source"
    source.mkdir()
    (source / "conveyor.toml").write_text(CONFIG)
    (source / "requirements.txt").write_text("polars\n")
    git = ["git", "-c", "user.name=B", "-c", "user.email=b@example.org"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "bench"],
        ["push", "-q", f"http://conveyor:{token}@127.0.0.1:{port}/git/bench.git", "main"],
    ):
        subprocess.run([*git, *words], cwd=source, check=True, capture_output=True)
    asked = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(600):
        headers = {"authorization": f"Bearer {token}", "content-type": MEDIA["ndjson"]}
        asked.request("POST", "/v1/data/events/rows", body("ndjson", 1), headers)
        answer = asked.getresponse()
        answer.read()
        if answer.status == 202:
            return
        time.sleep(0.2)
    raise SystemExit("the project was not built in two minutes")


if __name__ == "__main__":
    main()
