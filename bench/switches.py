"""A model's live version is switched again and again under load: what clients see.

    make bench-switches             50 switches
    QUICK=1 make bench-switches     5 switches

Two versions of a model take turns by `promote`, each by an ordinary rollout: a canary of half the traffic, then all of
it, then the old process is drained and ended. 16 clients without retries, from a process of their own: one row on a
connection that is kept, one row on a new connection each time, and 2,000 rows at once, which the server works in a
thread. One line of JSON a figure; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from deploy_parts.traffic import Client as Connection
from deploy_parts.traffic import Failed

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.config.settings import Settings
from conveyor.domain import requests

NAME, MODEL, DATASET = "switches", "risk", "payments"
FEATURES = ("amount", "hour")
KINDS = ("keep", "new", "keep", "new", "batch")
CLIENTS, PAUSE, BATCH = 16, 0.01, 2000
CONFIG = """[project]
name = "switches"

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

[model.risk.gates]
roc_auc = { min = 0.5 }

[model.risk.retrain]
on = ["data", "code"]

[model.risk.rollout]
steps = [50, 100]
hold = "0s"
watch = "0s"
drain = "5s"
"""
CODE = """import polars as pl
from sklearn.linear_model import LogisticRegression


def train(payments: pl.DataFrame, seed: int) -> LogisticRegression:
    table = payments.select("amount", "hour").cast(pl.Float32).to_numpy()
    return LogisticRegression(random_state=seed).fit(table, payments["fraud"].to_numpy())
"""
REQUIREMENTS = Path(__file__).resolve().parent.parent / "tests" / "e2e" / "project" / "requirements.txt"


def main() -> int:
    if sys.argv[1:2] == ["--clients"]:
        asyncio.run(clients(int(sys.argv[2]), Path(sys.argv[3])))
        return 0
    switches = 5 if os.environ.get("QUICK") == "1" else 50
    scratch = Path(tempfile.mkdtemp(prefix="bench-switches-"))
    home = scratch / ".conveyor"
    settings = lifecycle.up(home)
    client = lifecycle.client(home)
    try:
        versions = prepare(scratch, settings, client)
        with load(scratch, settings.public_port) as seen:
            time.sleep(2)
            took = [switch(client, versions[number % 2]) for number in range(switches)]
            time.sleep(1)
        return 0 if report(seen, took, client, switches) else 1
    except SystemExit:
        for event in reversed(client.events(newest=True, limit=20)):
            print(event.time, event.type, event.data, file=sys.stderr)
        raise
    finally:
        lifecycle.down(home)
        shutil.rmtree(scratch, ignore_errors=True)


def prepare(scratch: Path, settings: Settings, client: Client) -> tuple[int, int]:
    """Two versions that passed their gates, the second one live."""
    source = scratch / "source"
    source.mkdir()
    (source / "conveyor.toml").write_text(CONFIG)
    (source / "risk.py").write_text(CODE)
    shutil.copyfile(REQUIREMENTS, source / "requirements.txt")
    git(source, "init", "-q", "-b", "main")
    token = settings.token_file.read_text().strip()
    push(source, f"http://conveyor:{token}@127.0.0.1:{settings.api_port}/git/{NAME}.git")
    wait(lambda: bool(client.projects()) and bool(client.events(types=("build.ready",))), 180, "the build")
    for version, days in ((1, (0, 1, 2)), (2, (3,))):
        for day in days:
            client.add_data(NAME, DATASET, rows(scratch, day))
        wait(lambda version=version: live(client) >= version, 240, f"version {version}")  # type: ignore[misc]
    newest = live(client)
    return newest - 1, newest


def rows(scratch: Path, day: int) -> Path:
    random, count = np.random.default_rng(day), 1000
    amount, hour = random.gamma(2.0, 30.0, count), random.integers(0, 24, count).astype(np.float64)
    fraud = random.random(count) < 1 / (1 + np.exp(3.0 - amount / 40))
    start = datetime(2026, 1, 1) + timedelta(days=day)
    at = [start + timedelta(seconds=86_399 * number / count) for number in range(count)]
    table = {"id": np.arange(count) + day * count, "at": at, "amount": amount, "hour": hour, "fraud": fraud.astype(int)}
    path = scratch / f"day-{day}.parquet"
    pl.DataFrame(table).write_parquet(path)
    return path


def push(source: Path, remote: str) -> None:
    git(source, "add", "-A")
    git(source, "-c", "user.name=B", "-c", "user.email=b@example.org", "commit", "-q", "-m", "The model")
    git(source, "push", "-q", remote, "main")


def git(source: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=source, check=True, capture_output=True)


def live(client: Client) -> int:
    """The live version while nothing is being rolled out; 0 while something is."""
    found = client.status().environments
    if not found or found[0].live is None or found[0].rollout is not None:
        return 0
    return found[0].live.models.get(MODEL, 0)


def switch(client: Client, version: int) -> float:
    """Seconds from the request until the version has all traffic and the old process is gone."""
    began = time.monotonic()
    client.promote_model(NAME, MODEL, version, requests.PromoteModel(reason="its turn", again=True))
    wait(lambda: live(client) == version, 60, f"version {version} to be live")
    return time.monotonic() - began


def wait(done: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


# --- clients


class Predictor(Connection):
    """One client; `seen` counts answers by the version that gave them, and failures by cause."""

    async def predict(self) -> None:
        count = BATCH if self.kind == "batch" else 1
        tensors = [{"name": name, "datatype": "FP32", "shape": [count], "data": [7.0] * count} for name in FEATURES]
        body = json.dumps({"inputs": tensors}).encode()
        answer = json.loads(await self.ask("POST", f"/v2/models/{MODEL}/infer", body))
        if len(answer["outputs"][0]["data"]) != count:
            raise Failed("the answer is short")
        self.seen["versions"][answer["model_version"]] += 1
        if self.kind == "new":
            await self.close()


async def clients(port: int, out: Path) -> None:
    """Asks until standard input ends; then writes what was seen."""
    stop = asyncio.Event()
    seen: dict[str, Any] = {"requests": 0, "versions": Counter(), "failed": Counter(), "kinds": Counter(), "ms": []}

    async def run(number: int) -> None:
        one = Predictor(port, KINDS[number % len(KINDS)], seen)
        while not stop.is_set():
            began = time.perf_counter()
            try:
                await asyncio.wait_for(one.predict(), 30)
            except (Failed, OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                seen["failed"][f"{one.kind}: {error!r}"[:160]] += 1
                await one.close()
            seen["requests"] += 1
            seen["kinds"][one.kind] += 1
            if one.kind != "batch":
                seen["ms"].append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE)
        await one.close()

    tasks = [asyncio.create_task(run(number)) for number in range(CLIENTS)]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()
    await asyncio.gather(*tasks)
    out.write_text(json.dumps(seen))


@contextlib.contextmanager
def load(scratch: Path, port: int) -> Iterator[dict[str, Any]]:
    """Clients until the block ends; what they saw is there afterwards."""
    out, seen = scratch / "clients.json", dict[str, Any]()
    process = subprocess.Popen([sys.executable, __file__, "--clients", str(port), str(out)], stdin=subprocess.PIPE)
    try:
        yield seen
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)
        seen.update(json.loads(out.read_text()))


def report(seen: dict[str, Any], took: list[float], client: Client, switches: int) -> bool:
    moved = [event.data for event in client.events(types=("rollout.receipt",), newest=True, limit=switches)]
    times, took = sorted(seen["ms"]), sorted(took)
    lines = [
        line("failed requests", sum(seen["failed"].values()), "requests", 0, causes=seen["failed"]),
        line("requests", seen["requests"], "requests", None, kinds=seen["kinds"], versions=seen["versions"]),
        line("failed, by the receipts", sum(each["failed"] for each in moved), "requests", 0, receipts=len(moved)),
        line("switches", len(took), "switches", None),
        line("promote to old process gone, median", round(took[len(took) // 2], 2), "s", None),
        line("promote to old process gone, slowest", round(took[-1], 2), "s", None),
        line("p50 of one row", round(times[len(times) // 2], 1), "ms", None),
        line("p99 of one row", round(times[int(0.99 * (len(times) - 1))], 1), "ms", None),
    ]
    return all(lines) and len(seen["versions"]) == 2


def line(case: str, value: float, unit: str, goal: float | None, **more: object) -> bool:
    """Prints a figure; goals are upper bounds."""
    holds = None if goal is None else value <= goal
    body = {"bench": "switches", "case": case, "value": value, "unit": unit, "peer": None, "peer_value": None}
    print(json.dumps(body | {"ratio": None, "goal": goal, "holds": holds} | more), flush=True)
    return holds is not False


if __name__ == "__main__":
    sys.exit(main())
