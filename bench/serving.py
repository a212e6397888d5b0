"""One-row predictions: Conveyor's model server, direct and through Envoy, beside five others, in one run.

    make bench-serving                              everything (the first run installs the peers into .bench/)
    ARGS="forest 1 16" make bench-serving           one case: model, workers, clients; any of them may be left out
    PEERS=0 make bench-serving                      without the peers
    QUICK=1 make bench-serving                      less than a minute: one case, with mlflow and FastAPI

The models: a random forest of 100 trees of depth 12 on 15 features, and a logistic regression on the same. Observations
are on. Each peer (mlflow models serve, BentoML, MLServer, LitServe, FastAPI under uvicorn) gets the same estimator and
the same row, in an environment of its own. The limit is granian, msgspec and onnxruntime and nothing else. All servers
of a case are up at once and asked in turn, so many rounds; figures are medians of the rounds. One line of JSON a
figure; exit 1 when a goal does not hold.

Load generator and servers share the machine's cores, so absolute figures are low; the ratios count.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

PARTS = Path(__file__).resolve().parent / "serving_parts"
sys.path.insert(0, str(PARTS))

from load import Started, free_port, generate, memory_mb, started  # noqa: E402
from models import proxy, train  # noqa: E402
from peers import LIMIT, PEERS, tensor  # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
CLIENTS, WORKERS, MODELS = (1, 16, 64), (1, 2), ("forest", "regression")
ROUNDS, SECONDS = (1, 1.0) if QUICK else (3, 1.5)
BEST_PEER = {"forest": 40, "regression": 5}  # times the requests/s of the best peer
MLFLOW = 30  # times mlflow's requests/s with the forest, through Envoy, one worker
OF_LIMIT, OF_LIMIT_ROUTED, LOGGED, READY, MEMORY = 0.8, 0.5, 0.9, 1.0, 160.0
PATH = "/v2/models/bench/infer"
Figures = dict[str, float]


@dataclass
class Server:
    """One of those that are asked in turn."""

    name: str
    port: int
    path: str
    body: bytes
    process: Started
    found: list[Figures] = field(default_factory=list)

    def middle(self) -> Figures:
        """The median of each figure over the rounds; of failures the sum."""
        figures = {key: statistics.median(each[key] for each in self.found) for key in ("rate", "p50", "p99")}
        return figures | {"failed": sum(each["failed"] for each in self.found)}


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are ended on the way out
    numbers = [int(word) for word in words if word.isdigit()]
    models = [word for word in words if word in MODELS] or (["forest"] if QUICK else list(MODELS))
    workers = numbers[:1] or ([1] if QUICK else list(WORKERS))
    clients = numbers[1:2] or ([16] if QUICK else list(CLIENTS))
    held = True
    for model in models:
        for count in workers:
            scratch = Path(tempfile.mkdtemp(prefix="bench-serving-"))
            try:
                held &= measure(model, count, clients, scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return 0 if held else 1


def measure(model: str, workers: int, clients: list[int], scratch: Path) -> bool:
    row, held = train(model, scratch), True
    with ExitStack() as stack:
        servers = {server.name: server for server in up(scratch, workers, row, stack)}
        for number in clients:
            for server in servers.values():
                server.found.clear()
            for _ in range(ROUNDS):
                for server in servers.values():
                    server.found.append(generate(server.port, number, SECONDS, server.path, server.body))
            case = f"{model}, {workers} workers, {number} clients"
            held &= compare(model, workers, number, case, {name: server.middle() for name, server in servers.items()})
        for name, server in servers.items():
            held &= tell(f"{model}, {workers} workers, {name} ready", server.process.ready, "s", at_most(name, READY))
            share = memory_mb(server.process.pid) / workers
            held &= tell(f"{model}, {workers} workers, {name} memory", share, "MB a worker", at_most(name, MEMORY))
        held &= tell(
            f"{model}, {workers} workers, observations lost", lost(servers["direct"].port), "rows", ("most", 0)
        )
    return held


def up(scratch: Path, workers: int, row: list[float], stack: ExitStack) -> Iterator[Server]:
    ours = [("direct", [sys.executable, "-m", "conveyor.serving"])]
    if workers == 1:  # several would be started as any other
        ours.append(("unlogged", [sys.executable, str(PARTS / "unlogged.py")]))
    for name, argv in ours:
        port, path = free_port(), scratch / f"{name}.sock"
        argv = [*argv, "--artifact", str(scratch), "--name", "bench", "--version", "1", "--port", str(port)]
        argv += ["--observations", str(scratch / name), "--socket", str(path), "--workers", str(workers)]
        process = stack.enter_context(started(argv, port, "/readyz"))
        yield Server(name, port, PATH, tensor(row), process)
        if name == "direct":
            routed = free_port()
            envoy = stack.enter_context(started(proxy(scratch, routed, path), routed, "/readyz"))
            yield Server("envoy", routed, PATH, tensor(row), envoy)
    peers = [LIMIT, *(PEERS if os.environ.get("PEERS", "1") == "1" else ())]
    for peer in peers:
        if QUICK and peer.name not in ("limit", "mlflow", "fastapi"):
            continue
        try:
            port = free_port()
            peer.installed()
            how = peer.launched(scratch, port, workers, row)
            process = stack.enter_context(started(how.command, port, how.ready, how.env, how.cwd))
        except (subprocess.CalledProcessError, ChildProcessError) as error:
            print(json.dumps({"bench": "serving", "case": f"{peer.name} left out", "why": str(error)}), flush=True)
            continue
        yield Server(peer.name, port, how.path, how.body, process)


def compare(model: str, workers: int, clients: int, case: str, found: dict[str, Figures]) -> bool:
    held = True
    for name, figures in found.items():
        for key, unit in (("rate", "requests/s"), ("p50", "ms"), ("p99", "ms")):
            failed = int(figures["failed"]) if name in ("direct", "envoy") else 0
            held &= tell(f"{case}, {name} {key}", figures[key], unit, ("most", None), failed=failed)
    rate = {name: figures["rate"] for name, figures in found.items()}
    peers = [peer.name for peer in PEERS if peer.name in found]
    if peers:
        best = max(peers, key=lambda name: rate[name])
        goal = BEST_PEER[model] if not QUICK else None
        held &= tell(f"{case}, direct to the best peer ({best})", rate["direct"] / rate[best], "times", ("least", goal))
    if "mlflow" in found and model == "forest" and workers == 1:
        held &= tell(f"{case}, envoy to mlflow", rate["envoy"] / rate["mlflow"], "times", ("least", MLFLOW))
    if peers and clients == 16:
        least = min(found[name]["p99"] for name in [*peers, "limit"] if name in found)
        held &= tell(f"{case}, p99 to the lowest other", found["direct"]["p99"] / least, "times", ("most", 1.0))
    if "limit" in found:
        held &= tell(f"{case}, direct to the limit", rate["direct"] / rate["limit"], "times", ("least", OF_LIMIT))
        routed = rate["envoy"] / rate["limit"]
        held &= tell(f"{case}, envoy to the limit", routed, "times", ("least", OF_LIMIT_ROUTED))
    if "unlogged" in found:
        logged = rate["direct"] / rate["unlogged"]
        held &= tell(f"{case}, observations on to off", logged, "times", ("least", LOGGED))
    return held


def at_most(name: str, most: float) -> tuple[str, float | None]:
    """A goal is for our own server alone."""
    return "most", most if name == "direct" else None


def tell(case: str, value: float, unit: str, goal: tuple[str, float | None], *, failed: int = 0) -> bool:
    kind, bound = goal
    holds = not failed and (bound is None or (value <= bound if kind == "most" else value >= bound))
    line: dict[str, object] = {"bench": "serving", "case": case, "value": round(value, 3), "unit": unit}
    line |= {} if bound is None else {"goal": bound, "bound": f"at {kind}"}
    line |= {"failed": failed} if failed else {}
    print(json.dumps(line | {"holds": holds}), flush=True)
    return holds


def lost(port: int) -> float:
    """No observation may have been lost under the load."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.search(r"^conveyor_observations_lost_total{.*} (.*)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
