"""The Open Inference Protocol over real HTTP: what is answered, and what is refused with which reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .support import FEATURES, Artifact, ModelServer, Start, matrix


def test_metadata_and_health(shared: ModelServer) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert shared.client.get(path).status_code == 200
    assert shared.client.get("/v2").json()["name"] == "conveyor"
    assert shared.client.get("/v2/models").json() == {"models": ["fraud"]}
    model = shared.client.get("/v2/models/fraud").json()
    assert model == shared.client.get("/v2/models/fraud/versions/3").json()
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert [output["name"] for output in model["outputs"]] == ["label", "probabilities"]
    assert model["parameters"] == {"features": list(FEATURES)}
    assert shared.client.get("/v2/models/fraud/versions/3/ready").json() == {"name": "fraud", "ready": True}


@pytest.mark.parametrize("count", [1, 2, 400])
def test_both_forms_equal_what_the_graph_gives(shared: ModelServer, artifact: Artifact, count: int) -> None:
    rows = artifact.rows[:count]
    labels, probabilities = artifact.expected(rows)
    columns = [
        {"name": name, "shape": [count, 1], "datatype": "FP64", "data": rows[:, [at]].tolist()}
        for at, name in reversed(list(enumerate(FEATURES)))
    ]
    nested = {**matrix(rows), "data": rows.tolist()}
    for inputs in ([matrix(rows)], [nested], columns):
        response = shared.infer(*inputs, id="mine")
        assert response.status_code == 200, response.text
        assert response.headers["x-conveyor-model"] == "fraud@3"
        answer = response.json()
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "fraud", "3")
        label, probability = answer["outputs"]
        assert label == {"name": "label", "shape": [count], "datatype": "INT64", "data": labels}
        assert (probability["name"], probability["shape"]) == ("probabilities", [count, 2])
        assert np.array_equal(np.float32(probability["data"]).reshape(count, 2), probabilities)


def test_columns_may_be_of_any_number_type_and_outputs_chosen(shared: ModelServer, artifact: Artifact) -> None:
    inputs = [
        {"name": "amount", "shape": [2], "datatype": "INT64", "data": [12, -3]},
        {"name": "night", "shape": [2], "datatype": "BOOL", "data": [True, False]},
        {"name": "count", "shape": [2], "datatype": "UINT8", "data": [0, 255]},
        {"name": "risk", "shape": [2], "datatype": "FP32", "data": [1, 0.25]},
        {"name": "order", "shape": [2], "datatype": "INT32", "data": [1, 2]},
    ]
    answer = shared.infer(*inputs, outputs=[{"name": "probabilities"}]).json()
    expected = artifact.expected(np.array([[12, 1, 0, 1], [-3, 0, 255, 0.25]], dtype=np.float32))[1]
    assert [output["name"] for output in answer["outputs"]] == ["probabilities"]
    assert np.array_equal(np.float32(answer["outputs"][0]["data"]).reshape(2, 2), expected)
    assert answer["id"]


ROW = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
COLUMNS = [{"name": name, "shape": [1], "datatype": "FP32", "data": [1]} for name in FEATURES]

REFUSED: dict[str, tuple[object, str]] = {
    "not JSON": (b"hello", "not JSON"),
    "empty body": (b"", "not JSON"),
    "cut short": (b'{"inputs":[{"name":"in', "not JSON"),
    "not UTF-8": (b'{"inputs":[{"name":"\xff"}]}', "not JSON"),
    "an array": (b"[]", "not an inference request"),
    "no inputs": ({}, "inputs"),
    "inputs null": ({"inputs": None}, "inputs"),
    "no tensor": ({"inputs": []}, "no tensor"),
    "NaN": (b'{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,NaN]}]}', "NaN"),
    "Infinity": (b'{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,-Infinity]}]}', "NaN"),
    "beyond 64 bits": (b'{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,1e999]}]}', "range"),
    "beyond 32 bits": ({"inputs": [{**ROW, "data": [1, 2, 3, 1e39]}]}, "feature 'risk' of row 0"),
    "null value": ({"inputs": [{**ROW, "data": [1, 2, None, 4]}]}, "`float`"),
    "text value": ({"inputs": [{**ROW, "data": [1, 2, "3", 4]}]}, "`float`"),
    "data not a list": ({"inputs": [{**ROW, "data": 5}]}, "`array`"),
    "data missing": ({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32"}]}, "no data"),
    "too few values": ({"inputs": [{**ROW, "data": [1, 2, 3]}]}, "send 4 values"),
    "too many values": ({"inputs": [{**ROW, "data": [1, 2, 3, 4, 5]}]}, "send 4 values"),
    "ragged rows": ({"inputs": [{**ROW, "shape": [2, 4], "data": [[1, 2, 3, 4], [1, 2, 3]]}]}, "row 1 has 3 values"),
    "wrong width": ({"inputs": [{**ROW, "shape": [1, 5], "data": [1] * 5}]}, "[-1, 4]"),
    "no rows": ({"inputs": [{**ROW, "shape": [0, 4], "data": []}]}, "at least one row"),
    "negative rows": ({"inputs": [{**ROW, "shape": [-1, 4]}]}, "at least one row"),
    "huge shape": ({"inputs": [{**ROW, "shape": [2**62, 4]}]}, "values"),
    "shape of text": ({"inputs": [{**ROW, "shape": ["1", 4]}]}, "shape"),
    "three dimensions": ({"inputs": [{**ROW, "shape": [1, 4, 1]}]}, "[-1, 4]"),
    "unknown datatype": ({"inputs": [{**ROW, "datatype": "FP31"}]}, "FP32"),
    "text as feature": ({"inputs": [{**ROW, "datatype": "BYTES"}]}, "FP32"),
    "out of the datatype": ({"inputs": [{**ROW, "datatype": "UINT8", "data": [1, 2, 3, 256]}]}, "`int` <= 255"),
    "fraction as integer": ({"inputs": [{**ROW, "datatype": "INT64", "data": [1, 2, 3, 4.5]}]}, "`int`"),
    "unknown tensor": ({"inputs": [ROW, {**COLUMNS[0], "name": "ordr"}]}, "did you mean 'order'"),
    "feature missing": ({"inputs": COLUMNS[:3]}, "feature 'risk' not in the request"),
    "feature too many": ({"inputs": [*COLUMNS, {**COLUMNS[0], "name": "amuont"}]}, "did you mean 'amount'"),
    "feature twice": ({"inputs": [*COLUMNS, COLUMNS[0]]}, "two of one name"),
    "both forms": ({"inputs": [ROW, COLUMNS[0]]}, "the one or the other"),
    "rows differ": ({"inputs": [*COLUMNS[:3], {**COLUMNS[3], "shape": [2], "data": [1, 2]}]}, "has 2 rows"),
    "wide column": ({"inputs": [*COLUMNS[:3], {**COLUMNS[3], "shape": [1, 2], "data": [1, 2]}]}, "[rows, 1]"),
    "key rows differ": (
        {"inputs": [ROW, {"name": "order", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}]},
        "has 2 rows",
    ),
    "time as text": ({"inputs": [ROW, {"name": "at", "shape": [1], "datatype": "BYTES", "data": ["now"]}]}, "INT64"),
    "time beyond 64 bits": (
        {"inputs": [ROW, {"name": "at", "shape": [1], "datatype": "INT64", "data": [2**63]}]},
        "64",
    ),
    "unknown output": ({"inputs": [ROW], "outputs": [{"name": "scores"}]}, "label, probabilities"),
    "an output twice": ({"inputs": [ROW], "outputs": [{"name": "label"}] * 2}, "more than once"),
    "id a number": ({"inputs": [ROW], "id": 5}, "id"),
    "id too long": ({"inputs": [ROW], "id": "x" * 300}, "300 characters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(shared: ModelServer, case: str) -> None:
    body, reason = REFUSED[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = shared.client.post("/v2/models/fraud/infer", content=content)
    assert response.status_code == 400, response.text
    assert reason in response.json()["error"]
    assert shared.infer(ROW).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/froud/infer", 404),
        ("POST", "/v2/models/fraud/versions/2/infer", 404),
        ("GET", "/v2/models/froud", 404),
        ("GET", "/", 404),
        ("GET", "/v2/models/fraud/infer", 405),
        ("POST", "/v2/models/fraud", 405),
    ],
)
def test_wrong_address(shared: ModelServer, method: str, path: str, status: int) -> None:
    response = shared.client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]


def test_a_body_over_the_limit(start: Start, artifact: Artifact) -> None:
    server = start("--max-body", "2000")
    large = json.dumps({"inputs": [matrix(artifact.rows)]}).encode()
    announced = server.client.post("/v2/models/fraud/infer", content=large)
    chunked = server.client.post("/v2/models/fraud/infer", content=iter([large]))
    for response in (announced, chunked):
        assert response.status_code == 413
        assert "2000 bytes" in response.json()["error"]
    assert server.infer(matrix(artifact.rows[:1])).status_code == 200


def test_ten_thousand_rows(shared: ModelServer, artifact: Artifact) -> None:
    rows = np.tile(artifact.rows, (25, 1))
    answer = shared.infer(matrix(rows)).json()
    probabilities = np.float32(answer["outputs"][1]["data"]).reshape(-1, 2)
    assert np.array_equal(probabilities, artifact.expected(rows)[1])
