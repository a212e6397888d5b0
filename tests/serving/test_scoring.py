"""MLflow's scoring protocol over real HTTP: its four forms score as the model's own protocol does, and are logged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conveyor.stores.observations import ObservationLog

from .support import FEATURES, Artifact, ModelServer, Start, poll

PATHS = ("/invocations", "/v2/models/fraud/invocations", "/v2/models/fraud/versions/3/invocations")


def test_the_four_forms_are_scored_and_logged(start: Start, artifact: Artifact) -> None:
    server, rows = start(), artifact.rows[:50]
    labels, probabilities = artifact.expected(rows)
    order = [3, 1, 0, 2]
    named = [FEATURES[at] for at in order]
    records = [dict(zip(FEATURES, row, strict=True)) for row in rows.tolist()]
    forms: list[dict[str, object]] = [
        {"dataframe_split": {"columns": named, "index": list(range(50)), "data": rows[:, order].tolist()}},
        {"dataframe_records": records},
        {"instances": rows.tolist()},
        {"instances": records},
        {"inputs": rows.tolist()},
        {"inputs": {name: rows[:, at].tolist() for at, name in enumerate(FEATURES)}},
        {"inputs": {name: rows[:, [at]].tolist() for at, name in enumerate(FEATURES)}},
        {"inputs": {"input": rows.tolist()}},
    ]
    ids = set()
    for number, form in enumerate(forms):
        response = server.client.post(PATHS[number % 3], json=form)
        assert (response.status_code, response.json()) == (200, {"predictions": labels}), response.text
        assert response.headers["content-type"] == "application/json"
        ids.add(response.headers["x-conveyor-prediction"])
    keyed = [{**record, "order": f"o{at}", "at": at} for at, record in enumerate(records)]
    body = {"dataframe_records": keyed, "params": {"output": "probabilities", "id": "mine"}}
    answer = server.client.post("/invocations", json=body)
    assert np.array_equal(np.float32(answer.json()["predictions"]), probabilities)
    assert "x-conveyor-prediction" not in answer.headers

    log = ObservationLog(server.observations)
    poll(lambda: sum(len(log.read(path)) for path in log.segments()) == len(forms) + 1, "observations")
    logged = {one.id: one for path in log.segments() for one in log.read(path)}
    assert set(logged) == ids | {"mine"}
    assert {one.features for one in logged.values()} == {rows.tobytes()}
    assert (logged["mine"].keys[7], logged["mine"].times[7]) == ("o7", 7)


def test_what_an_mlflow_client_asks_before(shared: ModelServer) -> None:
    assert [shared.client.get(path).status_code for path in ("/ping", "/health", "/version")] == [200, 200, 200]
    assert shared.client.get("/version").headers["content-type"].startswith("text/plain")
    assert shared.client.get("/invocations").status_code == 405


GOOD = dict.fromkeys(FEATURES, 1.0)
REFUSED: dict[str, tuple[object, str]] = {
    "not JSON": (b"a,b\n1,2", "not JSON"),
    "NaN": (b'{"instances": [[1, 2, 3, NaN]]}', "NaN"),
    "an array": ([[1, 2, 3, 4]], "dataframe_split"),
    "no form": ({}, "dataframe_split"),
    "two forms": ({"instances": [[1, 2, 3, 4]], "inputs": [[1, 2, 3, 4]]}, "or several"),
    "another form": ({"dataframe": [[1, 2, 3, 4]]}, "dataframe_split"),
    "no rows": ({"instances": []}, "at least one"),
    "no records": ({"dataframe_records": []}, "at least one"),
    "no columns": ({"inputs": {}}, "features 'amount'"),
    "one flat row": ({"instances": [1, 2, 3, 4]}, "not an inference request"),
    "mixed rows": ({"instances": [[1, 2, 3, 4], GOOD]}, "several kinds"),
    "short row": ({"instances": [[1, 2, 3, 4], [1, 2, 3]]}, "row 1 has 3 values"),
    "missing column": ({"dataframe_split": {"columns": list(FEATURES[:3]), "data": [[1, 2, 3]]}}, "feature 'risk' not"),
    "extra column": ({"dataframe_records": [{**GOOD, "amuont": 1}]}, "did you mean 'amount'"),
    "ragged split": ({"dataframe_split": {"columns": list(FEATURES), "data": [[1, 2, 3]]}}, "row 0 has 3 values"),
    "column twice": ({"dataframe_split": {"columns": ["amount"] * 2, "data": [[1, 2]]}}, "two columns"),
    "ragged records": ({"dataframe_records": [GOOD, {"amount": 1}]}, "row 1 and row 0"),
    "ragged columns": ({"inputs": {**{name: [1] for name in FEATURES}, "risk": [1, 2]}}, "column 'risk' has 2 rows"),
    "wide column": ({"inputs": {name: [[1, 2]] for name in FEATURES}}, "has 2 values in one row"),
    "text": ({"dataframe_records": [{**GOOD, "count": "three"}]}, "feature 'count' of row 0 is the text 'three'"),
    "null": ({"dataframe_records": [GOOD, {**GOOD, "count": None}]}, "feature 'count' of row 1 is missing"),
    "beyond 32 bits": ({"instances": [[1, 2, 3, 1e39]]}, "feature 'risk' of row 0"),
    "beyond 64 bits": ({"instances": [[1, 2, 3, 10**400]]}, "308 digits"),
    "key missing": ({"dataframe_records": [{**GOOD, "order": None}]}, "the key of row 0 is missing"),
    "time as text": ({"dataframe_records": [{**GOOD, "at": "now"}]}, "microseconds"),
    "unknown output": ({"instances": [[1, 2, 3, 4]], "params": {"output": "odds"}}, "label, probabilities"),
    "unknown param": ({"instances": [[1, 2, 3, 4]], "params": {"top_k": 3}}, "top_k"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(shared: ModelServer, case: str) -> None:
    body, reason = REFUSED[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = shared.client.post("/invocations", content=content)
    assert response.status_code == 400, response.text
    assert reason in response.json()["error"]


def test_csv_is_refused_as_such(shared: ModelServer) -> None:
    answer = shared.client.post("/invocations", content=b"1,2,3,4", headers={"content-type": "text/csv"})
    assert (answer.status_code, "CSV" in answer.json()["error"]) == (400, True)
