"""`python -m conveyor.serving.measure SPEC.json OUT`: what a version costs in the real model server.

Starts the server on the artifact as a rollout would, asks it one row at a time, and reads its memory. Rows are drawn
from the training profile, so they need no data beside the artifact.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.domain import wire
from conveyor.domain.evaluation import Served
from conveyor.domain.form import MANIFEST
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import LoggedScore, MeasureSpec
from conveyor.errors import StepFailed
from conveyor.sdk import process

NAME, ROUNDS = "candidate", 3


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def measure(spec: MeasureSpec) -> Served:
    artifact = Path(spec.artifact)
    manifest = wire.from_json((artifact / MANIFEST).read_bytes(), ModelManifest)
    bodies = [_body(row) for row in _rows(manifest, spec.calls, spec.seed)]
    with _server(artifact, spec) as (server, path):
        connection = _Unix(path)
        _answered(connection, bodies[: max(20, spec.calls // 10)])
        rounds = [sorted(_answered(connection, bodies)) for _ in range(ROUNDS)]
        memory = _peak_mb(server.pid)
        apart = _apart(connection, manifest, spec.logged)
        connection.close()
    # A training gives way to whatever else the machine does, and that is not the model's time: the best round counts.
    return Served(
        latency_p50_ms=min(_quantile(taken, 0.5) for taken in rounds),
        latency_p99_ms=min(_quantile(taken, 0.99) for taken in rounds),
        memory_mb=memory,
        size_mb=sum(file.stat().st_size for file in artifact.iterdir()) / 1e6,
        calls=spec.calls,
        logged=len(spec.logged),
        apart=apart,
    )


def _apart(
    connection: http.client.HTTPConnection, manifest: ModelManifest, logged: tuple[LoggedScore, ...]
) -> float | None:
    """The largest distance of a served score from the one at training; None where one is no number."""
    largest = 0.0
    for each in logged:
        served = _score(_asked(connection, _body(list(each.row))), manifest)
        if not math.isfinite(served):
            return None
        largest = max(largest, abs(served - each.score) / max(1.0, abs(each.score)))
    return largest


def _score(said: bytes, manifest: ModelManifest) -> float:
    """The score in an answer of one row."""
    where = manifest.signature.score
    output = next(each for each in json.loads(said)["outputs"] if each["name"] == where.output)
    values = output["data"]
    value = values[min(where.column or 0, len(values) - 1)]
    return math.nan if value is None else float(value)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _answered(connection: http.client.HTTPConnection, bodies: list[bytes]) -> list[float]:
    """Milliseconds of each."""
    taken = []
    for body in bodies:
        began = time.perf_counter()
        _asked(connection, body)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def _asked(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("POST", f"/v2/models/{NAME}/infer", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    said = response.read()
    if response.status != 200:
        raise StepFailed(
            f"the model server answered {response.status}: {said[:200].decode(errors='replace')}",
            hint="The version cannot serve rows like those of its training; its log is the run's.",
        )
    return said


def _rows(manifest: ModelManifest, count: int, seed: int) -> list[list[float]]:
    """Values at which the training's quantiles lie; the example's where a feature has none."""
    draw = random.Random(seed)
    features = manifest.signature.features
    edges = [manifest.profile.features[name].edges if name in manifest.profile.features else () for name in features]
    return [
        [draw.choice(values) if values else given for values, given in zip(edges, manifest.example.row, strict=True)]
        for _ in range(count)
    ]


def _body(row: list[float]) -> bytes:
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


@contextmanager
def _server(artifact: Path, spec: MeasureSpec) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The server's process, ready; ended afterwards whatever happens. A socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="conveyor-"))
    path = folder / "s"
    argv = [sys.executable, "-m", "conveyor.serving", "--artifact", str(artifact), "--name", NAME, "--version", "1"]
    argv += ["--port", "0", "--socket", str(path), "--observations", str(folder / "observations")]
    argv += [word for type_ in spec.trusted for word in ("--trust", type_)]
    server = subprocess.Popen(argv)
    try:
        _wait(server, path, spec.start_seconds)
        yield server, path
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if server.poll() is not None:
            raise StepFailed(
                f"the model server ended with {server.returncode} while it loaded the version",
                hint="It said why on stderr, which is in the run's log.",
            )
        if time.monotonic() > deadline:
            raise StepFailed(
                f"the model server was not ready within {seconds:g} s",
                hint="Train a smaller model, or look at its log.",
            )
        time.sleep(0.02)


def _peak_mb(pid: int) -> float:
    """The most memory that the process has held, its resident set's high-water mark."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise StepFailed("the kernel does not say how much memory the server held", hint="Memory is read on Linux.")


def main(argv: list[str]) -> int:
    return process.run(argv, MeasureSpec, lambda spec, out: process.write_json(out / "served.json", measure(spec)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
