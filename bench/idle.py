"""What an idle Conveyor costs: memory and processor of the control plane, Envoy and a model server.

    make bench-idle               a minute of each
    QUICK=1 make bench-idle       ten seconds of each

A project with three services is pushed and left alone; then a model is added to it, trained on made-up rows, and left
alone. Memory is the proportional set size (PSS, shared pages divided among those who share them), processor is the time
that the processes used by the time that passed. One line of JSON a figure; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.domain.release import Release
from conveyor.domain.run import RunState
from conveyor.errors import NotFound

SETTLE_SECONDS = 20.0  # what a rollout leaves behind (old processes, receipts, caches) is over by then
SERVE = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TRAIN = """
from sklearn.ensemble import RandomForestClassifier


def train(payments):
    rows = payments.collect()
    columns = ["amount", "hour"]
    return RandomForestClassifier(100, random_state=0).fit(rows.select(columns).to_numpy(), rows["fraud"].to_numpy())
"""
SERVICE = """
[service.{name}]
run = "python serve.py"
route = "{route}"
rollout = {{ steps = [100], hold = "0s", watch = "0s", drain = "0s" }}
"""
MODEL = """
[data.payments]
time = "at"
key = "id"
label = { column = "fraud", delay = "1d" }

[model.risk]
train = "risk:train"
inputs = ["data.payments"]
features = ["amount", "hour"]
metric = "roc_auc"
holdout = "1d"
rollout = { steps = [100], hold = "0s", watch = "0s", drain = "0s" }
"""
REQUIREMENTS = "scikit-learn>=1.6,<2\nskl2onnx>=1.19,<2\nonnx>=1.19,<2\nonnxruntime>=1.22,<2\npyarrow>=20,<27\n"
SERVICES = "".join(SERVICE.format(name=n, route=r) for n, r in (("web", "/"), ("api", "/api"), ("admin", "/admin")))


def main() -> int:
    seconds = 10.0 if os.environ.get("QUICK") == "1" else 60.0
    scratch = Path(tempfile.mkdtemp(prefix="bench-idle-"))
    try:
        held = measure(scratch, seconds)
    finally:
        lifecycle.down(scratch / ".conveyor")
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if held else 1


def measure(scratch: Path, seconds: float) -> bool:
    source = scratch / "idle"
    source.mkdir()
    settings = lifecycle.up(scratch / ".conveyor")
    client = lifecycle.client(settings.home)
    git(source, "init", "-q", "-b", "main")
    remote = f"http://conveyor:{settings.token_file.read_text().strip()}@127.0.0.1:{settings.api_port}/git/idle.git"
    (source / "serve.py").write_text(SERVE)
    push(source, remote, SERVICES)
    wait(lambda: live(client) is not None, 120, "the services")
    time.sleep(SETTLE_SECONDS)
    held = report("3 services: control plane and Envoy", cost(client, ("control", "envoy"), seconds), 350, 2)

    (source / "risk.py").write_text(TRAIN)
    (source / "requirements.txt").write_text(REQUIREMENTS)
    commit = push(source, remote, SERVICES + MODEL)
    wait(lambda: built(client, commit), 180, "the build with a model")
    rows().write_parquet(scratch / "rows.parquet")
    client.add_data("idle", "payments", scratch / "rows.parquet")
    wait(lambda: models(client) == {"risk": 1}, 180, "the model")
    time.sleep(SETTLE_SECONDS)
    parts = ("control", "envoy", "model.risk")
    return report("with a model: control plane, Envoy and model server", cost(client, parts, seconds), 450, 3) and held


def rows() -> pl.DataFrame:
    random = np.random.default_rng(0)
    amount, hour = random.gamma(2.0, 30.0, 5000), random.integers(0, 24, 5000).astype(np.float64)
    start = datetime(2026, 1, 1)
    at = [start + timedelta(minutes=n) for n in range(5000)]
    fraud = (random.random(5000) < 1 / (1 + np.exp(3.0 - amount / 40))).astype(np.int64)
    return pl.DataFrame({"id": range(5000), "at": at, "amount": amount, "hour": hour, "fraud": fraud})


def live(client: Client) -> Release | None:
    """What is live while nothing is being rolled out."""
    found = next(iter(client.status().environments), None)
    return found.live if found is not None and found.rollout is None else None


def models(client: Client) -> dict[str, int]:
    release = live(client)
    return release.models if release is not None else {}


def built(client: Client, commit: str) -> bool:
    try:
        run = client.run_of_commit("idle", commit)
    except NotFound:  # the push has not been read yet
        return False
    if run.state in (RunState.FAILED, RunState.CANCELLED):
        raise SystemExit(f"the build failed: {run.error}")
    return run.state is RunState.SUCCEEDED


def cost(client: Client, parts: tuple[str, ...], seconds: float) -> dict[str, tuple[float, float]]:
    """Part -> megabytes (PSS), percent of one core; a part is all processes whose name has it."""
    running = {process.name: process.pid for process in client.status().processes if process.pid is not None}
    pids = {part: [pid for name, pid in running.items() if name == part or f"-{part}" in name] for part in parts}
    before, began = {part: used(found) for part, found in pids.items()}, time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return {part: (memory(found), 100 * (used(found) - before[part]) / passed) for part, found in pids.items() if found}


def family(pids: list[int]) -> list[psutil.Process]:
    return [each for pid in pids for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]


def used(pids: list[int]) -> float:
    """Seconds of processor."""
    return sum(sum(process.cpu_times()[:2]) for process in family(pids))


def memory(pids: list[int]) -> float:
    return sum(process.memory_full_info().pss for process in family(pids)) / 2**20


def report(case: str, found: dict[str, tuple[float, float]], most_mb: float, most_percent: float) -> bool:
    by_part = {part: f"{megabytes:.0f} MB, {percent:.2f} %" for part, (megabytes, percent) in found.items()}
    megabytes, percent = (sum(values[place] for values in found.values()) for place in (0, 1))
    held = [
        line(f"{case}, memory", round(megabytes), "MB", most_mb, by_part),
        line(f"{case}, processor", round(percent, 2), "% of a core", most_percent, by_part),
    ]
    return all(held)


def line(case: str, value: float, unit: str, goal: float, parts: dict[str, str]) -> bool:
    """Prints a figure; goals are upper bounds."""
    body = {"bench": "idle", "case": case, "value": value, "unit": unit, "peer": None, "peer_value": None}
    print(json.dumps(body | {"ratio": None, "goal": goal, "holds": value <= goal, "parts": parts}), flush=True)
    return value <= goal


def push(source: Path, remote: str, config: str) -> str:
    (source / "conveyor.toml").write_text(f'[project]\nname = "idle"\n{config}')
    git(source, "add", "-A")
    git(source, "-c", "user.name=B", "-c", "user.email=b@example.org", "commit", "-q", "-m", "Idle")
    git(source, "push", "-q", remote, "main")
    return git(source, "rev-parse", "HEAD").strip()


def git(source: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=source, check=True, capture_output=True, text=True).stdout


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:g} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
