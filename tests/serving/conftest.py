"""A real model, converted to ONNX once a session, and real model servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier

from conveyor.domain import wire
from conveyor.domain.drift import Profile
from conveyor.domain.model import Example, ModelManifest, Score, Signature, Tensor

from .support import FEATURES, Artifact, ModelServer, Start, free_port, spawn

TRITON = Path(__file__).resolve().parents[2] / ".bench" / "triton"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    random = np.random.default_rng(7)
    rows = random.normal(size=(400, len(FEATURES))).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 3] > 0.5).astype(int)
    model = RandomForestClassifier(20, max_depth=6, random_state=0).fit(rows, labels)
    directory = tmp_path_factory.mktemp("artifact")
    types = [("input", FloatTensorType([None, len(FEATURES)]))]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False})
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    manifest = ModelManifest(
        signature=Signature(
            features=FEATURES,
            inputs=(Tensor("input", "FP32", (-1, len(FEATURES))),),
            outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
            score=Score("probabilities", 1),
            key="order",
            time="at",
        ),
        example=Example(tuple(rows[0].tolist()), float(model.predict_proba(rows[:1])[0, 1]), 1e-4),
        profile=Profile(rows=len(rows)),
        framework="sklearn",
    )
    (directory / "model.json").write_bytes(wire.to_json(manifest))
    return Artifact(directory, rows)


@pytest.fixture
def start(artifact: Artifact, tmp_path: Path) -> Iterator[Start]:
    """Starts model servers that are ready; ends them with the test."""
    servers: list[ModelServer] = []

    def start(*more: str, observations: Path = tmp_path / "observations") -> ModelServer:
        port = free_port()
        server = ModelServer(spawn(artifact.directory, observations, port, *more), port, observations)
        servers.append(server)
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def shared(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """One server for the tests that only ask it things."""
    observations, port = tmp_path_factory.mktemp("shared") / "observations", free_port()
    server = ModelServer(spawn(artifact.directory, observations, port), port, observations)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def triton_python() -> Path:
    """An environment with `tritonclient[http,grpc]`, which no other part needs; made once."""
    python = TRITON / "bin" / "python"
    if (
        python.exists()
        and subprocess.run([str(python), "-c", "import tritonclient.http, tritonclient.grpc"]).returncode == 0
    ):
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    made = subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(TRITON)], capture_output=True)
    install = [uv, "pip", "install", "-q", "--python", str(python), "tritonclient[http,grpc]>=2.60,<3"]
    if made.returncode or subprocess.run(install, capture_output=True, timeout=120).returncode:
        pytest.skip("tritonclient cannot be installed here")
    return python
