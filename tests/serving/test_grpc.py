"""gRPC: an unmodified Triton client lists, reads metadata and infers; what is refused, and with which code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from conveyor.serving.rpc_messages import SERVICE, messages

from .support import Artifact, ModelServer, Start, free_port, logged, matrix, poll

STORY = Path(__file__).with_name("triton_grpc_story.py")
REFUSED = (
    "INVALID_ARGUMENT: tensor 'input' has shape [300, 3], the model takes [-1, 4]",
    "INVALID_ARGUMENT: feature 'amount' of row 0 is not a finite",
    "INVALID_ARGUMENT: output 'label' is asked for by classification",
    "UNIMPLEMENTED: ",
    "NOT_FOUND: no model 'froud' on this server; it serves 'fraud' version 3",
    "NOT_FOUND: no model 'fraud' version '4' on this server",
    "RESOURCE_EXHAUSTED: ",
    "NOT_FOUND: no model 'froud'",
    "UNIMPLEMENTED: ",
    "INVALID_ARGUMENT: tensor 'input' has contents and raw_input_contents",
    "INVALID_ARGUMENT: 2 raw_input_contents for 1 inputs",
    "INVALID_ARGUMENT: tensor 'input' is in shared memory",
    "INVALID_ARGUMENT: tensor 'input' of datatype FP32 has fp64_contents; send its values in fp32_contents",
    "INVALID_ARGUMENT: tensor 'input' has shape [2, 4] but 4 values",
    "INVALID_ARGUMENT: tensor 'input' has a value that is no INT8",
    "INVALID_ARGUMENT: tensor 'input' has datatype 'FP8'; send one of BOOL",
    "INVALID_ARGUMENT: no tensor",
    "INVALID_ARGUMENT: the id has 300 characters",
)


def test_an_unmodified_triton_client(start: Start, artifact: Artifact, triton_python: Path, tmp_path: Path) -> None:
    port, rows = free_port(), artifact.rows[:300]
    server = start("--grpc-port", str(port), "--max-body", "1000000")
    np.save(tmp_path / "rows.npy", rows)
    command = [str(triton_python), str(STORY), f"127.0.0.1:{port}", str(tmp_path / "rows.npy")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert (seen["live"], seen["ready"], seen["model ready"], seen["other ready"]) == (True, True, True, False)
    assert (seen["server"]["name"], "model_repository" in seen["server"]["extensions"]) == ("conveyor", True)
    assert seen["index"] == {"models": [{"name": "fraud", "version": "3", "state": "READY"}]}
    assert seen["model"]["inputs"] == [{"name": "input", "datatype": "FP32", "shape": ["-1", "4"]}]
    assert (seen["model"]["platform"], seen["model"]["versions"]) == ("onnx_onnxv1", ["3"])
    for form, count in (("raw", 300), ("one", 1), ("columns", 300), ("typed", 2)):
        labels, probabilities = artifact.expected(rows[:count])
        assert seen[form]["label"] == labels, form
        assert np.array_equal(np.float32(seen[form]["probabilities"]), probabilities), form
    assert (seen["whole"]["version"], seen["whole"]["label"]) == ("3", 1)
    for expected, told in zip(REFUSED, seen["refused"], strict=True):
        assert told.removeprefix("StatusCode.").startswith(expected), (expected, told)
    poll(lambda: len(logged(server)) == 5, "five observations, none of what was refused")
    log = logged(server)
    assert log["triton"].features == rows.tobytes() == log["columns"].features
    assert log["columns"].keys == tuple(f"ö{row}" for row in range(len(rows)))
    assert log["columns"].times == tuple(range(len(rows)))
    assert (log[seen["whole"]["id"]].rows, log["triton"].version) == (1, 3)
    figures = server.client.get("/metrics").text
    assert 'conveyor_inference_requests_total{model="fraud",version="3",code="200"} 5' in figures, figures
    assert server.terminate() == (0, "")


def test_messages_that_are_none_and_ports_that_are_taken(start: Start, artifact: Artifact) -> None:
    port = free_port()
    server = start("--grpc-port", str(port), "--time-limit", "0.5", "--sync")
    row, made = artifact.rows[:1], messages()
    request = made["ModelInferRequest"](model_name="fraud", id="synced", raw_input_contents=[row.tobytes()])
    request.inputs.add(name="input", datatype="FP32", shape=[1, 4])
    crowd = made["ModelInferRequest"](model_name="fraud", inputs=[{}] * 9)
    long = made["ModelInferRequest"](model_name="fraud")
    long.inputs.add(name="input", datatype="FP32", shape=[2**62] * 400_000, contents={"fp32_contents": [1]})
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.stream_unary(f"/{SERVICE}/ModelInfer")
        metadata = channel.unary_unary(f"/{SERVICE}/ModelMetadata")
        answer, call = infer.with_call(iter([request.SerializeToString()]))
        assert ("x-conveyor-model", "fraud@3") in [tuple(pair) for pair in call.trailing_metadata()]
        assert made["ModelInferResponse"].FromString(answer).id == "synced"
        for ask, code, reason in (
            (
                lambda: infer(iter([crowd.SerializeToString()])),
                "INVALID_ARGUMENT",
                "9 tensors; there are at most 8",
            ),
            (lambda: infer(iter([b"\x2a\x00" * 99_999])), "INVALID_ARGUMENT", "more than 160 fields"),
            (lambda: infer(iter([b"\x2a\x8e\x80\x02" + b"\x22\x00" * 16391])), "INVALID_ARGUMENT", "160 fields"),
            (lambda: infer(iter([b"\x0b" * 9_999])), "INVALID_ARGUMENT", "cut short"),
            (lambda: infer(iter([long.SerializeToString()])), "INVALID_ARGUMENT", "has shape"),
            (lambda: infer(iter([b"\xff\xff"])), "INVALID_ARGUMENT", "the message is no ModelInferRequest"),
            (lambda: infer(iter([])), "INVALID_ARGUMENT", "ended without a message"),
            (lambda: metadata(b"\x0a\x02\xff\xff"), "INVALID_ARGUMENT", "the message is no ModelMetadataRequest"),
            (lambda: infer(_never()), "DEADLINE_EXCEEDED", "did not arrive in 0.5 s"),
            (lambda: infer(iter([b"\x0a\x9f\x8d\x06" + b"n" * 99_999])), "NOT_FOUND", "no model 'nnn"),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                ask()
            assert (refused.value.code().name, reason in refused.value.details()) == (code, True), refused.value
    assert server.infer(matrix(row)).is_success
    assert _grpc_loaded(server)
    poll(lambda: len(logged(server)) == 2, "both observations")
    assert logged(server)["synced"].features == row.tobytes()
    plain = start()
    assert not _grpc_loaded(plain)
    command = [sys.executable, "-m", "conveyor.serving", "--artifact", str(artifact.directory), "--name", "fraud"]
    command += ["--version", "3", "--port", str(free_port()), "--grpc-port", str(port)]
    command += ["--observations", str(server.observations)]
    taken = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (taken.returncode, taken.stderr.splitlines()) == (
        1,
        [f"conveyor.serving: 127.0.0.1:{port} cannot be bound for gRPC", "  give another --grpc-port"],
    )
    several = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=30)
    assert (several.returncode, "--grpc-port goes with one worker" in several.stderr) == (2, True)


def _never() -> object:
    time.sleep(1)
    yield b""


def _grpc_loaded(server: ModelServer) -> bool:
    return "cygrpc" in Path(f"/proc/{server.process.pid}/maps").read_text()
