from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from shop import features
from shop.web import create_app
from starlette.testclient import TestClient

NOON = datetime(2018, 5, 1, 12)


def payment(key: int, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": key,
        "customer_id": 1,
        "terminal_id": 2,
        "amount": 50.0,
        "at": NOON.isoformat(),
        **changes,
    }


class Model(BaseHTTPRequestHandler):
    """A fraud model that is as sure of a fraud as the terminal's 30-day risk says."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        tensors = {tensor["name"]: tensor for tensor in body["inputs"]}
        risk = tensors["TERMINAL_ID_RISK_30DAY_WINDOW"]["data"]
        data = [value for score in risk for value in (1 - score, score)]
        output = {"name": "probabilities", "datatype": "FP32", "shape": [len(risk), 2], "data": data}
        answer = json.dumps({"model_name": "fraud", "model_version": "3", "id": "p1", "outputs": [output]}).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[ThreadingHTTPServer]:
    handler = type("Handler", (Model,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bound(database_url: str, model: ThreadingHTTPServer) -> Iterator[TestClient]:
    with TestClient(create_app(database_url, f"http://127.0.0.1:{model.server_port}/v2/models/fraud")) as client:
        yield client


def test_without_a_model_the_rule_decides(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"ok": True}
    small, large = client.post("/pay", json=payment(1)).json(), client.post("/pay", json=payment(2, amount=220)).json()
    assert small == {"transaction_id": 1, "approved": True, "score": None, "prediction_id": None, "model_version": None}
    assert large["approved"] is False
    assert [row["transaction_id"] for row in client.get("/payments/recent").json()] == [2, 1]
    assert "declined" in client.get("/").text
    assert client.post("/screen", json={name: [value] for name, value in payment(3).items()}).json()["score"] == [None]


@pytest.mark.parametrize("wrong", [{"amount": -1}, {"customer_id": -1}, {"at": "noon"}, {"amount": "much"}])
def test_a_wrong_payment_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    assert client.post("/pay", json=payment(1, **wrong)).status_code == 422
    assert client.post("/screen", json={name: [value] for name, value in wrong.items()}).status_code == 422


def test_the_model_decides_from_the_shops_own_history(bound: TestClient, model: ThreadingHTTPServer) -> None:
    days = [NOON - timedelta(days=back) for back in (20, 15, 6)]
    past = {
        "transaction_id": [1, 2, 3],
        "customer_id": [5, 6, 7],
        "terminal_id": [2, 2, 2],
        "amount": [10.0, 20.0, 30.0],
        "at": [day.isoformat() for day in days],
    }
    assert bound.post("/settlements", json=past).json() == {"rows": 3}
    labels = "\n".join(json.dumps({"transaction_id": key, "fraud": fraud}) for key, fraud in ((1, 1), (2, 1), (3, 1)))
    headers = {"content-type": "application/x-ndjson"}
    assert bound.post("/settlements", content=labels, headers=headers).json() == {"rows": 3}

    answer = bound.post("/pay", json=payment(10)).json()
    assert answer == {
        "transaction_id": 10,
        "approved": False,
        "score": 1.0,
        "prediction_id": "p1",
        "model_version": "3",
    }
    asked = {tensor["name"]: tensor["data"] for tensor in model.RequestHandlerClass.asked[-1]["inputs"]}  # type: ignore[attr-defined]
    assert set(asked) == {features.KEY, features.TIME, *features.FEATURES}
    assert (asked[features.KEY], asked[features.TIME]) == ([10], [1_525_176_000_000_000])
    assert asked["TERMINAL_ID_NB_TX_30DAY_WINDOW"] == [2.0]  # the third is too young to have a label
    assert bound.post("/pay", json=payment(10, amount=1)).json() == answer  # sent twice, decided once

    batch = {name: [value, value] for name, value in payment(0).items()} | {
        "transaction_id": [10, 11],
        "terminal_id": [2, 3],
    }
    screened = bound.post("/screen", json=batch).json()
    expected = {
        "transaction_id": [10, 11],
        "score": [1.0, 0.0],
        "approved": [False, True],
        "model_version": "3",
        "prediction_id": "p1",
    }
    assert screened == expected


def test_screening_sees_what_was_settled_since(bound: TestClient) -> None:
    def screen() -> list[float]:
        scores: list[float] = bound.post("/screen", json={name: [value] for name, value in payment(9).items()}).json()[
            "score"
        ]
        return scores

    assert screen() == [0.0]
    past = {name: [value] for name, value in payment(1, at=(NOON - timedelta(days=9)).isoformat(), fraud=0).items()}
    bound.post("/settlements", json=past)
    assert screen() == [0.0]
    bound.post("/settlements", json={"transaction_id": [1], "fraud": [1]})
    assert screen() == [1.0]


def test_a_model_that_fails_is_a_fallback_and_no_error(bound: TestClient, model: ThreadingHTTPServer) -> None:
    model.RequestHandlerClass.status = 503  # type: ignore[attr-defined]
    answer = bound.post("/pay", json=payment(1))
    assert (answer.status_code, answer.json()["model_version"]) == (200, None)
