"""An unmodified Triton client against the model server: it lists, reads metadata and infers with binary tensors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conveyor.stores.observations import ObservationLog

from .support import Artifact, ModelServer, Start, poll

STORY = Path(__file__).with_name("triton_story.py")


def test_an_unmodified_triton_client(start: Start, artifact: Artifact, triton_python: Path, tmp_path: Path) -> None:
    server, rows = start(), artifact.rows[:300]
    np.save(tmp_path / "rows.npy", rows)
    command = [str(triton_python), str(STORY), f"127.0.0.1:{server.port}", str(tmp_path / "rows.npy")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert (seen["live"], seen["ready"], seen["model ready"], seen["other ready"]) == (True, True, True, False)
    assert "binary_tensor_data" in seen["extensions"]
    assert seen["index"] == [{"name": "fraud", "version": "3", "state": "READY", "reason": ""}]
    assert seen["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    labels, probabilities = artifact.expected(rows)
    for form in ("binary", "json", "columns"):
        assert seen[form]["label"] == labels, form
        assert np.array_equal(np.float32(seen[form]["probabilities"]), probabilities), form
    reasons = ("[-1, 4]", "feature 'amount' of row 0", "classification", "encoded as 'gzip'")
    for reason, told in zip(reasons, seen["refused"], strict=True):
        assert (told[:3], reason in told) == ("400", True), told
    _logged_as_any_other(server, rows)


def _logged_as_any_other(server: ModelServer, rows: np.ndarray) -> None:
    log = ObservationLog(server.observations)
    poll(lambda: sum(len(log.read(path)) for path in log.segments()) == 3, "three observations")
    logged = {one.id: one for path in log.segments() for one in log.read(path)}
    assert logged["triton"].features == rows.tobytes() == logged["columns"].features
    assert logged["columns"].keys == tuple(f"ö{row}" for row in range(len(rows)))
    assert logged["columns"].times == tuple(range(len(rows)))


ROW = {"name": "input", "shape": [1, 4], "datatype": "FP32"}
SIXTEEN = b"\0" * 16
TEXT = {"name": "order", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}
REFUSED: dict[str, tuple[list[dict[str, object]], bytes, str | None, str]] = {
    "size without header": ([{**ROW, "parameters": {"binary_data_size": 16}}], b"", "absent", "bytes"),
    "header too long": ([{**ROW, "parameters": {"binary_data_size": 16}}], SIXTEEN, "9999", "has"),
    "header no number": ([ROW], SIXTEEN, "-5", "'-5'"),
    "cut short": ([{**ROW, "parameters": {"binary_data_size": 16}}], SIXTEEN[:9], None, "9 bytes are left"),
    "negative size": ([{**ROW, "parameters": {"binary_data_size": -1}}], SIXTEEN, None, "binary_data_size -1"),
    "bytes left over": ([{**ROW, "parameters": {"binary_data_size": 16}}], SIXTEEN + b"x", None, "belong to no tensor"),
    "wrong size": ([{**ROW, "parameters": {"binary_data_size": 12}}], SIXTEEN[:12], None, "send 16 bytes"),
    "both": ([{**ROW, "data": [1, 2, 3, 4], "parameters": {"binary_data_size": 16}}], SIXTEEN, None, "one of them"),
    "no BOOL": ([{**ROW, "datatype": "BOOL", "parameters": {"binary_data_size": 4}}], b"\0\1\2\0", None, "0 or 1"),
    "NaN": ([{**ROW, "datatype": "FP16", "parameters": {"binary_data_size": 8}}], b"\xff" * 8, None, "finite"),
    "unknown type": ([{**ROW, "datatype": "BF16", "parameters": {"binary_data_size": 8}}], b"\0" * 8, None, "FP32"),
    "text cut short": ([{**ROW, "data": [1, 2, 3, 4]}, TEXT], b"\5\0\0\0abcd", None, "texts"),
    "text not UTF-8": ([{**ROW, "data": [1, 2, 3, 4]}, TEXT], b"\4\0\0\0\xff\xff\xff\xff", None, "UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_binary_tensors_refused_with_a_reason(shared: ModelServer, case: str) -> None:
    inputs, tail, header, reason = REFUSED[case]
    head = json.dumps({"inputs": inputs}).encode()
    headers = {} if header == "absent" else {"Inference-Header-Content-Length": header or str(len(head))}
    response = shared.client.post("/v2/models/fraud/infer", content=head + tail, headers=headers)
    assert response.status_code == 400, response.text
    assert reason in response.json()["error"]
