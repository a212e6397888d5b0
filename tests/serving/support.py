"""What the tests of the model server share: a real process with its client, and the requests that it is sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from conveyor.domain import wire
from conveyor.domain.model import ModelManifest
from conveyor.domain.observation import Prediction
from conveyor.stores.observations import ObservationLog

FEATURES = ("amount", "night", "count", "risk")
DEADLINE = 20.0  # seconds; for polls, not for pace


@dataclass(frozen=True)
class Artifact:
    directory: Path
    rows: NDArray[np.float32]

    def expected(self, rows: NDArray[np.float32]) -> tuple[list[int], NDArray[np.float32]]:
        """onnxruntime's own outputs; one thread, because the order in which trees are summed shows in the last bit."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession((self.directory / "model.onnx").read_bytes(), options)
        labels, probabilities = session.run(None, {"input": rows})
        return labels.tolist(), probabilities


@dataclass
class ModelServer:
    process: subprocess.Popen[str]
    port: int
    observations: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE)

    def infer(self, *inputs: Mapping[str, object], **more: object) -> httpx.Response:
        return self.client.post("/v2/models/fraud/infer", json={"inputs": list(inputs), **more})

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            try:
                return self.client.get("/v2/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        poll(ready, "readiness")

    def terminate(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what was written to stderr."""
        self.process.send_signal(signal.SIGTERM)
        errors = self.process.communicate(timeout=DEADLINE)[1]
        return self.process.returncode, errors

    def kill(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()


Start = Callable[..., ModelServer]


def matrix(rows: NDArray[np.float32]) -> dict[str, object]:
    return {"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}


def poll(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)


def damaged(artifact: Artifact, directory: Path, score: float) -> Path:
    """The same artifact with an example that the model does not give."""
    manifest = wire.from_json((artifact.directory / "model.json").read_bytes(), ModelManifest)
    manifest = replace(manifest, example=replace(manifest.example, score=score))
    (directory / "model.onnx").write_bytes((artifact.directory / "model.onnx").read_bytes())
    (directory / "model.json").write_bytes(wire.to_json(manifest))
    return directory


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(artifact: Path, observations: Path, port: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "conveyor.serving", "--artifact", str(artifact), "--name", "fraud"]
    command += ["--version", "3", "--port", str(port), "--observations", str(observations), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def logged(server: ModelServer) -> dict[str, Prediction]:
    log = ObservationLog(server.observations)
    return {prediction.id: prediction for path in log.segments() for prediction in log.read(path)}


class Load:
    """Clients that ask one row again and again until the server is gone; `answered`: (time, prediction id)."""

    def __init__(self, server: ModelServer, row: NDArray[np.float32], clients: int = 4) -> None:
        self.answered: list[tuple[float, str]] = []
        self.statuses: set[int] = set()
        self.broken = 0  # requests without an answer
        self._url = f"http://127.0.0.1:{server.port}"
        self._body = json.dumps({"inputs": [matrix(row)]})
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            with httpx.Client(base_url=self._url, timeout=DEADLINE) as http:
                try:
                    while not self._ended.is_set():
                        answer = http.post("/v2/models/fraud/infer", content=self._body)
                        self.statuses.add(answer.status_code)
                        self.answered.append((time.monotonic(), answer.json()["id"]))
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    self.broken += 1
