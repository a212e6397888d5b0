"""Tracked runs: Conveyor's control plane beside `mlflow server` on SQLite, in one run.

    make bench-tracking             ours, with the goals that need no peer
    PEERS=1 make bench-tracking     beside mlflow at its default workers and at one (the first run installs it);
                                    PEERS=default or PEERS=one beside one of them
    QUICK=1 make bench-tracking     a second a figure; 200 runs for 1,000; 2,000 with 100,000 points for 100,000 with 10
                                    million
    make bench-tracking ARGS=large  only one of: rates large

Both get the same requests by the same generator: raw sockets, keep-alive, one process; a client sends its next request
when its last answer is whole. Ours is a whole control plane: token, reconciler and all. One line of JSON a figure;
`ratio` is how many times the peer's rate; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conveyor.config.settings import Settings, make_folders, save_settings
from conveyor.domain.tracked import Pair, Point
from conveyor.stores.tracking import experiments, points, runs
from conveyor.stores.tracking.database import Session, TrackingDatabase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench" / "serving_parts"))

from load import free_port, started, whole  # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
PEERS = os.environ.get("PEERS", "0")
SECONDS = 1.0 if QUICK else 4.0
TOKEN = "a-token-of-this-benchmark"
API = "/api/2.0/mlflow/"
MANY, EACH = (2_000, 50) if QUICK else (100_000, 100)  # runs, and points of each
SEARCHED = 200 if QUICK else 1000
GOALS = {  # case -> times the peer's rate at its default workers, and at one worker
    "log-metric, 1 client": (50, 10),
    "log-metric, 8 clients": (15, None),
    "run of 20 params and 20 metrics": (30, 10),
    "log-batch of 1,000": (20, None),
    f"search of {SEARCHED:,} runs, page of 100": (15, None),
}
Rates = dict[str, float]


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, body: Any, method: str = "POST") -> bytes:
        self.socket.sendall(request(path, body, method))
        return self.answer()

    def answer(self) -> bytes:
        got = b""
        while not whole_of_any(got):
            part = self.socket.recv(1 << 20)
            if not part:
                raise SystemExit(f"the server closed a connection after {got[:300]!r}")
            got += part
        if not got.startswith(b"HTTP/1.1 200"):
            raise SystemExit(got[:1000].decode())
        return got.partition(b"\r\n\r\n")[2]


def whole_of_any(got: bytes) -> bool:
    return b"\r\n\r\n" in got and whole(got)


def request(path: str, body: Any, method: str = "POST") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {API}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="bench-tracking-"))
    cases = {"rates": compare, "large": lambda folder: large(folder / "large")}
    try:
        held = [cases[name](scratch) for name in sys.argv[1:] or cases]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(held) else 1


def compare(scratch: Path) -> bool:
    with conveyor(scratch / "ours") as (port, ready):
        whole_after = complete(port)
        mine = rates(port)
    held = tell("ready", ready, "s", goal=1.5, holds=ready < 1.5)
    tell("all else answers", ready + whole_after, "s")
    peers: list[tuple[int, str, Rates]] = []
    every = {"default": ("default workers", ()), "one": ("1 worker", ("--workers", "1"))}
    for place, (key, (name, workers)) in enumerate(every.items()):
        if PEERS not in ("1", key):
            continue
        with mlflow(scratch / key, workers) as (port, ready):
            peers.append((place, name, rates(port)))
        tell(f"ready, mlflow, {name}", ready, "s")
    return report(mine, peers) and held


def complete(port: int) -> float:
    """Seconds until the parts beyond tracking answer: rates are those of a control plane that is whole."""
    begun = time.perf_counter()
    ask = urllib.request.Request(f"http://127.0.0.1:{port}/v1/projects", headers={"Authorization": f"Bearer {TOKEN}"})
    urllib.request.urlopen(ask, timeout=60).close()
    return time.perf_counter() - begun


def tell(case: str, value: float, unit: str, **more: Any) -> bool:
    print(json.dumps({"bench": "tracking", "case": case, "value": round(value, 3), "unit": unit, **more}), flush=True)
    return bool(more.get("holds", True))


def report(mine: Rates, peers: list[tuple[int, str, Rates]]) -> bool:
    held = True
    for case, rate in mine.items():
        if not peers:
            tell(case, rate, "a second")
        for place, name, theirs in peers:
            ratio, goal = rate / theirs[case], GOALS[case][place]
            line: dict[str, Any] = {"peer": f"mlflow server, {name}", "peer_value": round(theirs[case], 2)}
            line |= {"ratio": round(ratio, 1)}
            if goal is not None:
                line |= {"goal": goal, "holds": ratio >= goal}
            held &= tell(case, rate, "a second", **line)
    return held


def rates(port: int) -> Rates:
    """Calls (runs, batches, searches) a second, each after a short warm-up."""
    connection = Connection(port)
    experiment = json.loads(connection.ask("experiments/create", {"name": "bench"}))["experiment_id"]
    run = new_run(connection, experiment)
    found: Rates = {}
    for clients in (1, 8):
        body = {"run_id": run, "key": "loss", "value": 0.5, "timestamp": 0, "step": 0}
        found[f"log-metric, {clients} client{'s' if clients > 1 else ''}"] = flood(port, clients, body)
    connection = Connection(port)  # the peer closes one that was idle for so long

    def whole_run() -> None:
        id_ = new_run(connection, experiment)
        metrics = [{"key": f"m{n}", "value": random.random(), "timestamp": 1, "step": 0} for n in range(20)]
        params = [{"key": f"p{n}", "value": str(n)} for n in range(20)]
        connection.ask("runs/log-batch", {"run_id": id_, "metrics": metrics, "params": params})
        connection.ask("runs/update", {"run_id": id_, "status": "FINISHED", "end_time": 2})

    found["run of 20 params and 20 metrics"] = repeated(whole_run)
    step = 0

    def batch() -> None:
        nonlocal step
        metrics = [{"key": f"b{n % 10}", "value": n / 7, "timestamp": step + n, "step": step + n} for n in range(1000)]
        step += 1000
        connection.ask("runs/log-batch", {"run_id": run, "metrics": metrics})

    found["log-batch of 1,000"] = repeated(batch)
    searched = json.loads(connection.ask("experiments/create", {"name": "searched"}))["experiment_id"]
    for _ in range(SEARCHED):
        id_ = new_run(connection, searched)
        metrics = [{"key": f"m{n}", "value": random.random(), "timestamp": 1, "step": 0} for n in range(5)]
        params = [{"key": f"p{n}", "value": str(n)} for n in range(5)]
        connection.ask("runs/log-batch", {"run_id": id_, "metrics": metrics, "params": params})
    question = {"experiment_ids": [searched], "filter": "metrics.m1 > 0.3", "order_by": ["metrics.m1 DESC"]}

    def search() -> None:
        answer = json.loads(connection.ask("runs/search", question | {"max_results": 100}))
        assert len(answer["runs"]) == 100

    found[f"search of {SEARCHED:,} runs, page of 100"] = repeated(search)
    return found


def new_run(connection: Connection, experiment: str) -> str:
    made = json.loads(connection.ask("runs/create", {"experiment_id": experiment, "start_time": 1, "run_name": "r"}))
    return str(made["run"]["info"]["run_id"])


def repeated(work: Callable[[], None]) -> float:
    work()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS or count < 3:
        work()
        count += 1
    return count / (time.perf_counter() - begun)


def flood(port: int, clients: int, body: dict[str, Any]) -> float:
    """log-metric of so many clients at once; every call is another point."""
    poller = select.epoll()
    connections = {each.socket.fileno(): each for each in (Connection(port) for _ in range(clients))}
    sent = 0

    def send(connection: Connection) -> None:
        nonlocal sent
        sent += 1
        connection.socket.sendall(request("runs/log-metric", body | {"timestamp": sent, "step": sent}))

    for number, connection in connections.items():
        poller.register(number, select.EPOLLIN)
        send(connection)
    counts: list[int] = []
    for seconds in (0.5, SECONDS):
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            for number, _ in poller.poll(1.0):
                connections[number].answer()
                done += 1
                send(connections[number])
        counts.append(round(done / (time.perf_counter() - begun)))
    for connection in connections.values():
        connection.answer()
        connection.socket.close()
    body["step"] = body["timestamp"] = sent
    return float(counts[-1])


def large(folder: Path) -> bool:
    """Search and a run's page, as HTTP calls, where there is much; the median of nine, and the worst."""
    folder.mkdir()
    begun = time.perf_counter()
    home = settled(folder, free_port())
    fill(TrackingDatabase(f"sqlite:///{home.tracking}"))
    tell(f"filled with {MANY:,} runs and {MANY * EACH:,} points", time.perf_counter() - begun, "s")
    held = True
    with served(home):
        connection = Connection(home.api_port)
        found = json.loads(connection.ask("experiments/get-by-name?experiment_name=large", b"", "GET"))
        within = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 100}
        questions: dict[str, dict[str, Any]] = {
            "newest": {},
            "by a metric": {"order_by": ["metrics.m1 DESC"]},
            "metric above, by another": {"filter": "metrics.m2 > 0.9", "order_by": ["metrics.m1 ASC"]},
            "rare metric": {"filter": "metrics.m1 > 0.9995"},
            "param and metric": {"filter": "params.p1 = '7' AND metrics.m1 > 0.5", "order_by": ["metrics.m1 DESC"]},
            "tag": {"filter": "tags.team = 'b'"},
        }
        for name, question in questions.items():
            held &= timed(f"search, {name}", lambda q=question: connection.ask("runs/search", within | q))
        run = json.loads(connection.ask("runs/search", within))["runs"][50]["info"]["run_id"]
        held &= timed("a run", lambda: connection.ask(f"runs/get?run_id={run}", b"", "GET"))
        history = f"metrics/get-history?run_id={run}&metric_key=m1"
        held &= timed("a metric's history", lambda: connection.ask(history, b"", "GET"))
    return held


def timed(case: str, work: Callable[[], bytes]) -> bool:
    taken = []
    for _ in range(9):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    middle = sorted(taken)[4]
    return tell(case, middle, "ms", worst=round(max(taken), 1), goal=100, holds=middle < 100)


def fill(database: TrackingDatabase) -> None:
    experiment = database.write(lambda session: experiments.ensure(session, "large", 1))
    draw = random.Random(7)

    def some(first: int) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            for number in range(first, min(first + 200, MANY)):
                uuid = f"{number:032x}"
                tags = [Pair("mlflow.runName", f"r{number}"), Pair("team", "ab"[number % 2])]
                runs.create(session, uuid, experiment, f"r{number}", "bench", number, tags)
                run = runs.number(session, uuid)
                runs.log_params(session, run, [Pair(f"p{n}", str(draw.randrange(50))) for n in range(5)], uuid)
                points.log(session, run, [Point(f"m{n % 5}", draw.random(), n // 5, n // 5) for n in range(EACH)])

        return work

    for first in range(0, MANY, 200):
        database.write(some(first))
    database.close()


def settled(folder: Path, port: int) -> Settings:
    settings = Settings(folder / ".conveyor", public_port=free_port(), api_port=port)
    make_folders(settings)
    save_settings(settings)
    settings.token_file.write_text(TOKEN)
    return settings


@contextmanager
def served(settings: Settings) -> Iterator[float]:
    """The control plane of a home; how long it took until it answered."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "conveyor.start", str(settings.home)]
    with started(command, settings.api_port, "/health"):
        yield time.perf_counter() - begun


@contextmanager
def conveyor(folder: Path) -> Iterator[tuple[int, float]]:
    folder.mkdir()
    settings = settled(folder, free_port())
    with served(settings) as ready:
        yield settings.api_port, ready


@contextmanager
def mlflow(folder: Path, more: tuple[str, ...]) -> Iterator[tuple[int, float]]:
    folder.mkdir()
    home, uv = ROOT / ".bench" / "mlflow", str(Path(sys.executable).parent / "uv")
    python, port, packages = home / "bin" / "python", free_port(), ("mlflow>=3.1,<4", "skops", "scikit-learn")
    if not (home / "bin" / "mlflow").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
    command = [str(home / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), *more]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    begun = time.perf_counter()
    with started(command, port, "/health"):
        ready = time.perf_counter() - begun
        urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=30).close()
        yield port, ready


if __name__ == "__main__":
    sys.exit(main())
