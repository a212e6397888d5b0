"""One-row predictions: Conveyor's model server, direct and through Envoy, beside `mlflow models serve`, in one run.

    make bench-serving            everything (the first run installs mlflow into .bench/mlflow)
    PEERS=0 make bench-serving    without mlflow
    QUICK=1 make bench-serving    less than a minute

The model is a random forest of 100 trees of depth 12 on 15 features. Observations are on. mlflow gets the same
estimator and the same row, and is asked directly, without a proxy between. One line of JSON a figure; exit 1 when a
goal does not hold.

The load generator is this file run with `--generate`: one process, raw sockets under epoll, prebuilt requests,
keep-alive. It shares the machine's cores with what it measures, so absolute figures are low; the ratios count.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
FEATURES = tuple(f"f{number}" for number in range(15))
CLIENTS = (1, 16, 64)
ROUNDS = 3  # all are asked in turn, so many times: a machine that is slow for a moment is so for one round of each
GOAL = 30  # times mlflow's requests/s, through Envoy, at the same number of clients
GENERATOR = "one process, epoll, raw sockets, keep-alive"


def main() -> int:
    quick, peers = os.environ.get("QUICK") == "1", os.environ.get("PEERS", "1") == "1"
    seconds = 1.5 if quick else 9.0
    scratch = Path(tempfile.mkdtemp(prefix="bench-serving-"))
    try:
        held = measure(scratch, seconds, peers)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if held else 1


def measure(scratch: Path, seconds: float, peers: bool) -> bool:
    row = train(scratch)
    server_port, envoy_port, peer_port = free_port(), free_port(), free_port()
    serving = [sys.executable, "-m", "conveyor.serving", "--artifact", str(scratch), "--name", "forest"]
    serving += ["--version", "1", "--port", str(server_port), "--observations", str(scratch / "observations")]
    serving += ["--socket", str(scratch / "model.sock")]
    envoy = proxy(scratch, envoy_port, scratch / "model.sock")
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    ours = json.dumps({"inputs": [tensor]}).encode()
    split = json.dumps({"dataframe_split": {"columns": FEATURES, "data": [row]}}).encode()
    path, held = "/v2/models/forest/infer", True
    with started(serving, server_port, "/readyz"), started(envoy, envoy_port, "/readyz"):
        with mlflow(scratch, peer_port) if peers else nothing():
            for clients in CLIENTS:
                asked = [(server_port, path, ours), (envoy_port, path, ours)]
                asked += [(peer_port, "/invocations", split)] if peers else []
                rounds = [
                    [generate(port, clients, seconds / ROUNDS, *what) for port, *what in asked] for _ in range(ROUNDS)
                ]
                direct, routed, *peer = (middle(found) for found in zip(*rounds, strict=True))
                held &= report(clients, direct, routed, peer[0] if peer else None)
        held &= report_log(server_port)
    return held


def middle(found: tuple[dict[str, float], ...]) -> dict[str, float]:
    """The median of each figure over the rounds; of failures the sum."""
    figures = {key: statistics.median(each[key] for each in found) for key in ("rate", "p50", "p99")}
    return figures | {"failed": sum(each["failed"] for each in found)}


def report(clients: int, direct: dict[str, float], routed: dict[str, float], peer: dict[str, float] | None) -> bool:
    held = True
    for route, figures in (("direct", direct), ("envoy", routed)):
        for key, unit in (("rate", "requests/s"), ("p50", "ms"), ("p99", "ms")):
            line: dict[str, object] = {"bench": "serving", "case": f"{route}, {clients} clients, {key}"}
            line |= {"value": figures[key], "unit": unit, "failed": int(figures["failed"]), "generator": GENERATOR}
            holds = figures["failed"] == 0
            if peer is not None:
                ratio = figures[key] / peer[key] if key == "rate" else peer[key] / figures[key]
                line |= {"peer": "mlflow models serve", "peer_value": peer[key], "ratio": round(ratio, 1)}
                if key == "rate" and route == "envoy":
                    line["goal"] = GOAL
                    holds = holds and ratio >= GOAL and peer["failed"] == 0
            line["holds"] = holds
            held &= holds
            print(json.dumps(line), flush=True)
    return held


def report_log(port: int) -> bool:
    """No observation may have been lost under the load."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    lost = sum(int(line.split()[-1]) for line in lines if line.startswith("conveyor_observations_lost_total{"))
    line = {"bench": "serving", "case": "observations lost", "value": lost, "unit": "rows", "goal": 0}
    print(json.dumps({**line, "holds": lost == 0}), flush=True)
    return lost == 0


def train(directory: Path) -> list[float]:
    """Writes model.onnx, model.json and, for the peer, model.joblib; returns the row that is sent."""
    import joblib
    import numpy as np
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    from conveyor.domain import wire
    from conveyor.domain.drift import Profile
    from conveyor.domain.model import Example, ModelManifest, Score, Signature, Tensor

    data, labels = make_classification(20_000, len(FEATURES), n_informative=10, flip_y=0.05, random_state=0)
    data = data.astype(np.float32)
    model = RandomForestClassifier(100, max_depth=12, random_state=0).fit(data, labels)
    types = [("input", FloatTensorType([None, len(FEATURES)]))]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False})
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    row = data[0].tolist()
    signature = Signature(
        features=FEATURES,
        inputs=(Tensor("input", "FP32", (-1, len(FEATURES))),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
        score=Score("probabilities", 1),
    )
    example = Example(tuple(row), float(model.predict_proba(data[:1])[0, 1]), 1e-4)
    manifest = ModelManifest(signature, example, Profile(rows=len(data)), "sklearn")
    (directory / "model.json").write_bytes(wire.to_json(manifest))
    joblib.dump(model, directory / "model.joblib")
    return [float(value) for value in row]


def proxy(directory: Path, port: int, socket: Path) -> list[str]:
    """Envoy as Conveyor configures it for a model that is live; returns its command."""
    from conveyor.domain.routing import ANY_HOST, Cluster, Route, Routing, Weighted
    from conveyor.effects.envoy import Envoy

    envoy = Envoy(directory / "envoy", port, concurrency=1)
    envoy.write_bootstrap()
    cluster = Cluster("model.forest", (str(socket),), "/v2/health/ready")
    envoy.apply(Routing((cluster,), (Route(ANY_HOST, "/", (Weighted(cluster.name, 100, "forest@1"),)),)))
    return envoy.argv()


_SAVE = """
import sys, joblib, mlflow.sklearn
model = joblib.load(sys.argv[1])
mlflow.sklearn.save_model(model, sys.argv[2], serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba")
"""


@contextmanager
def mlflow(scratch: Path, port: int) -> Iterator[None]:
    """`mlflow models serve` of the same estimator, as its documentation says, in an environment of its own."""
    from importlib.metadata import version

    home = ROOT / ".bench" / "mlflow"
    python, uv = home / "bin" / "python", str(BIN / "uv")
    environment = {**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if not (home / ".ready").exists():
        same = [f"{name}=={version(name)}" for name in ("scikit-learn", "numpy", "joblib")]
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "mlflow", *same], check=True)
        (home / ".ready").touch()
    saved = scratch / "mlflow"
    command = [str(python), "-c", _SAVE, str(scratch / "model.joblib"), str(saved)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    serve = [str(home / "bin" / "mlflow"), "models", "serve", "-m", str(saved), "-p", str(port)]
    with started([*serve, "-h", "127.0.0.1", "--env-manager", "local"], port, "/ping", environment, quiet=True):
        yield


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def started(
    command: list[str], port: int, path: str, environment: dict[str, str] | None = None, *, quiet: bool = False
) -> Iterator[None]:
    """Runs a server until it answers 200 on `path`; ends it, and what it started, afterwards."""
    sink = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not come up (exit code {process.returncode})")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate(port: int, clients: int, seconds: float, path: str, body: bytes) -> dict[str, float]:
    """Runs the load generator in a process of its own: a short warm-up, then the figures."""
    found: dict[str, float] = {}
    for length in (min(1.0, seconds), seconds):
        command = [sys.executable, __file__, "--generate", str(port), str(clients), str(length), path]
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
    if sys.argv[1:2] == ["--generate"]:
        port, clients, seconds, path = sys.argv[2:6]
        print(json.dumps(generator(int(port), int(clients), float(seconds), path, sys.stdin.buffer.read())))
    else:
        raise SystemExit(main())
