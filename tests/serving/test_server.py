"""The model server's process: readiness, refusal, drain, and the observation log through kills."""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import signal
import socket
import struct
import termios
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from .support import Artifact, ModelServer, Start, damaged, free_port, logged, matrix, poll, spawn


def test_a_model_whose_example_disagrees_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    process = spawn(damaged(artifact, tmp_path, 0.123), tmp_path / "observations", free_port())
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "scored 0.123 at training" in errors
    assert "not the model that was trained" in errors


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.onnx", None, "no model.onnx"),
        ("model.json", None, "no model.json"),
        ("model.onnx", b"not a graph", "cannot be loaded"),
        ("model.json", b'{"signature": 5}', "not a model manifest"),
    ],
)
def test_a_damaged_artifact_is_refused(
    artifact: Artifact, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    for file in ("model.onnx", "model.json"):
        raw = content if file == name else (artifact.directory / file).read_bytes()
        if raw is not None:
            (tmp_path / file).write_bytes(raw)
    process = spawn(tmp_path, tmp_path / "observations", free_port())
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert reason in errors
    assert "Traceback" not in errors


def test_a_taken_port_is_refused(artifact: Artifact, tmp_path: Path, shared: ModelServer) -> None:
    process = spawn(artifact.directory, tmp_path, shared.port)
    assert "is taken by another process" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


def test_what_is_answered_is_what_is_logged(start: Start, artifact: Artifact) -> None:
    server = start()
    rows = artifact.rows
    answers = {}
    for at in range(20):
        extras = [
            {"name": "order", "shape": [1], "datatype": "INT64", "data": [at]},
            {"name": "at", "shape": [1, 1], "datatype": "INT64", "data": [1_600_000_000_000_000 + at]},
        ]
        answer = server.infer(matrix(rows[at : at + 1]), *extras).json()
        answers[answer["id"]] = (at, answer)
    batch = server.infer(
        matrix(rows[:3]), {"name": "order", "shape": [3], "datatype": "BYTES", "data": ["a", "b", "c"]}, id="batch"
    ).json()
    marked = {"x-conveyor-mark": "shadow"}, {"host": "fraud-shadow:80"}
    for number, headers in enumerate(marked):
        body = {"id": f"shadow{number}", "inputs": [matrix(rows[:1])]}
        assert server.client.post("/v2/models/fraud/infer", json=body, headers=headers).status_code == 200
    assert server.infer({**matrix(rows[:1]), "data": []}).status_code == 400
    assert "conveyor_inference_rows_total{" in server.client.get("/metrics").text

    # A segment is closed a second after it was begun, with no further request.
    poll(lambda: len(logged(server)) == 23, "the closed segment")
    found = logged(server)
    assert set(found) == {*answers, "batch", "shadow0", "shadow1"}
    for id, (at, answer) in answers.items():
        prediction = found[id]
        assert (prediction.model, prediction.version, prediction.rows, prediction.mark) == ("fraud", 3, 1, "")
        assert prediction.features == rows[at : at + 1].tobytes()
        assert np.frombuffer(prediction.scores, "<f4").tolist() == [np.float32(answer["outputs"][1]["data"][1])]
        assert (prediction.keys, prediction.times) == ((str(at),), (1_600_000_000_000_000 + at,))
        assert abs(prediction.at - time.time()) < 60
    assert found["batch"].keys == ("a", "b", "c")
    assert found["batch"].rows == 3
    assert np.frombuffer(found["batch"].scores, "<f4").tolist() == batch["outputs"][1]["data"][1::2]
    assert found["shadow0"].mark == found["shadow1"].mark == "shadow"
    metrics = server.client.get("/metrics").text
    assert re.search(r"conveyor_observations_written_total{.*} 25\n", metrics)
    assert re.search(r"conveyor_observations_lost_total{.*} 0\n", metrics)
    assert re.search(r'conveyor_inference_requests_total{.*code="400"} 1\n', metrics)

    assert server.terminate() == (0, "")
    assert [path.suffix for path in server.observations.iterdir()] == [".seg"]


def test_a_drain_answers_what_is_in_flight(start: Start, artifact: Artifact) -> None:
    server = start()
    rows = np.tile(artifact.rows, (100, 1))  # 40,000 rows: still being worked when the signal comes
    body = json.dumps({"id": "large", "inputs": [matrix(rows)]}).encode()
    head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        socket.create_connection(("127.0.0.1", server.port)) as late,
        socket.create_connection(("127.0.0.1", server.port)) as idle,
    ):
        assert idle.fileno() > 0
        late.sendall(head + body[:-10])  # the request has begun; its end arrives after the signal
        poll(lambda: _received(late), "the server's reading")
        server.process.send_signal(signal.SIGTERM)
        poll(lambda: not _accepts(server.port), "the closed door")
        late.sendall(body[-10:])
        late.settimeout(30)
        with late.makefile("rb") as answer:
            raw = answer.read()
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert server.process.wait(30) == 0
    assert logged(server)["large"].rows == len(rows)


def _received(connection: socket.socket) -> bool:
    """Whether the peer has acknowledged all that was sent (Linux: SIOCOUTQ)."""
    unsent = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    return bool(unsent == 0)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def test_health_answers_while_large_batches_are_scored(start: Start, artifact: Artifact) -> None:
    server = start()
    body = json.dumps({"inputs": [matrix(np.tile(artifact.rows, (100, 1)))]})

    async def scene() -> tuple[int, list[int]]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as http:
            large = asyncio.gather(*(http.post("/v2/models/fraud/infer", content=body) for _ in range(4)))
            healthy = 0
            while not large.done():
                assert (await http.get("/v2/health/ready")).status_code == 200
                healthy += 1
            return healthy, [answer.status_code for answer in await large]

    healthy, statuses = asyncio.run(scene())
    assert statuses == [200] * 4
    assert healthy > 4  # interleaved with the batches, not after them


def test_it_answers_on_a_socket_as_on_its_port(start: Start, artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # what a killed process leaves behind
    server = start("--socket", str(path))
    body = {"inputs": [matrix(artifact.rows[:1])], "id": "same"}
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://model") as beside:
        assert beside.post("/v2/models/fraud/infer", json=body).json() == server.infer(**body).json()
    assert server.terminate() == (0, "")
    assert not path.exists()
    refused = spawn(artifact.directory, tmp_path, free_port(), "--socket", str(tmp_path / "none" / "model.sock"))
    assert "give another --socket" in refused.communicate(timeout=30)[1]
    assert refused.returncode == 1
