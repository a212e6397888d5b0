"""What a model server does when it is asked too much, too slowly or for nonsense: it says so, and goes on."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conveyor.errors import Overloaded, Unavailable
from conveyor.serving.bulk import THREADS, Bulk, Limits

from .support import DEADLINE, FEATURES, Artifact, ModelServer, Start, matrix

EXAMPLES = int(os.environ.get("CONVEYOR_FUZZ_EXAMPLES", "250"))
"""Of each fuzz test; more of them look longer."""


def test_when_too_many_large_requests_wait_the_next_is_told_to_come_back(start: Start, artifact: Artifact) -> None:
    server = start("--max-waiting", "1")
    body = json.dumps({"inputs": [matrix(np.tile(artifact.rows, (100, 1)))]}).encode()

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{server.port}/v2/models/fraud/infer", content=body, timeout=DEADLINE)

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(24)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert "waiting already" in refused.json()["error"]
    assert server.infer(matrix(artifact.rows[:1])).status_code == 200
    assert ask(0).status_code == 200


def test_a_request_that_does_not_arrive_is_given_up(start: Start, artifact: Artifact) -> None:
    server = start("--time-limit", "0.4")
    head = b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as slow:
        slow.sendall(head)
        received = slow.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.4 s" in received
    assert server.infer(matrix(artifact.rows[:1])).status_code == 200


def test_nobody_waits_for_ever_for_a_thread() -> None:
    release = threading.Event()

    async def story() -> list[BaseException | bool]:
        bulk = Bulk(Limits(waiting=2, waiting_bytes=100, seconds=0.1))
        working = [bulk.run(20, release.wait) for _ in range(THREADS)]
        waiting, too_large, last, too_many = (bulk.run(size, release.wait) for size in (20, 90, 20, 1))
        found = await asyncio.gather(*working, waiting, too_large, last, too_many, return_exceptions=True)
        release.set()
        return [*found, await bulk.run(20, lambda: True)]

    *found, after = asyncio.run(story())
    kinds = [(type(one), "waited" in str(one)) for one in found]
    working, full = (Unavailable, False), (Overloaded, False)
    assert kinds == [*[working] * THREADS, (Overloaded, True), full, (Overloaded, True), full]
    assert after is True


def test_a_hundred_megabytes_and_deep_json(shared: ModelServer, artifact: Artifact) -> None:
    huge = (b" " * 1_000_000 for _ in range(100))
    assert shared.client.post("/v2/models/fraud/infer", content=huge).status_code == 413
    for depth in (500, 5_000, 200_000):
        for path in ("/v2/models/fraud/infer", "/invocations"):
            for opened in ('{"inputs": ' + "[" * depth, '{"other": ' + '{"a":' * depth, "[" * depth):
                answer = shared.client.post(path, content=opened.encode())
                assert answer.status_code == 400, answer.text
    deep = [{**matrix(artifact.rows[:1]), "parameters": {"other": None}}]
    text = json.dumps({"inputs": deep}).replace("null", "[" * 5000 + "]" * 5000)
    assert shared.client.post("/v2/models/fraud/infer", content=text.encode()).status_code in (200, 400)


NAMES = st.sampled_from([*FEATURES, "input", "order", "at", "label", ""]) | st.text(max_size=5)
TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too: JSON can say them
NUMBER = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 2**64, 10**400, -1, 1e38, 1e39, 0.1])
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
JSON = st.recursive(
    SCALAR, lambda one: st.lists(one, max_size=4) | st.dictionaries(NAMES, one, max_size=4), max_leaves=8
)
ROW = st.lists(st.floats(-10, 10) | SCALAR, min_size=4, max_size=4)
PARAMETERS = st.fixed_dictionaries(
    {}, optional={"binary_data_size": st.integers(-1, 40) | JSON, "shared_memory_region": TEXT, "binary_data": JSON}
)
TENSOR = st.fixed_dictionaries(
    {
        "name": NAMES,
        "shape": st.sampled_from([[1, 4], [1], [1, 1], [2**62, 4], [0, 4]]) | JSON,
        "datatype": st.sampled_from(["FP32", "FP64", "FP16", "INT64", "UINT64", "UINT8", "BOOL", "BYTES", "BF16"]),
    },
    optional={"data": ROW | st.lists(SCALAR, max_size=1) | JSON, "parameters": PARAMETERS},
)
COLUMNS = st.dictionaries(NAMES, st.lists(SCALAR, min_size=1, max_size=1) | JSON, max_size=6)
FULL = st.fixed_dictionaries(
    dict.fromkeys(FEATURES, st.lists(st.floats(-9, 9) | SCALAR, min_size=1, max_size=2)),
    optional={"order": st.lists(SCALAR, min_size=1, max_size=1), "at": st.lists(SCALAR, min_size=1, max_size=1)},
)
SPLIT = st.fixed_dictionaries({"columns": st.just(list(FEATURES)) | JSON, "data": st.lists(ROW, max_size=2) | JSON})
BODY = JSON | st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(TENSOR, max_size=5) | COLUMNS | FULL | JSON,
        "instances": st.lists(ROW, max_size=3) | JSON,
        "dataframe_split": SPLIT,
        "dataframe_records": st.lists(st.fixed_dictionaries(dict.fromkeys(FEATURES, SCALAR)), max_size=2) | JSON,
        "id": TEXT | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": NAMES}, optional={"parameters": PARAMETERS}), max_size=2),
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_output": st.booleans() | JSON}),
        "params": st.fixed_dictionaries({}, optional={"output": NAMES, "id": TEXT}) | JSON,
    },
)
ONES = {name: [1.0] for name in FEATURES}
SOUND: list[dict[str, Any]] = [
    {"inputs": [matrix(np.ones((2, 4), np.float32))], "outputs": [{"name": "label"}], "id": "x"},
    {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in (*FEATURES, "order")]},
    {"dataframe_split": {"columns": [*FEATURES, "order", "at"], "data": [[1, 2, 3, 4, "a", 5]]}},
    {"dataframe_records": [{**dict.fromkeys(FEATURES, 1), "order": "a"}], "params": {"output": "label"}},
    {"instances": [[1, 2, 3, 4]]},
    {"inputs": {**ONES, "at": [7]}},
]


@st.composite
def nearly_sound(draw: st.DrawFn) -> dict[str, Any]:
    """A request that is scored, but for at most one value somewhere in it."""
    body = copy.deepcopy(draw(st.sampled_from(SOUND)))
    place: Any = body
    while draw(st.integers(0, 4)):
        at = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[at], dict | list) or not place[at]:
            place[at] = draw(NUMBER | SCALAR | JSON)
            break
        place = place[at]
    return body


HEADER = st.none() | st.just("right") | st.integers(-5, 300).map(str) | st.sampled_from(["", "x", "9" * 30, "²"])
FUZZED = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None
)


@FUZZED
@given(
    st.sampled_from(["/v2/models/fraud/infer", "/invocations"]), BODY | nearly_sound(), HEADER, st.binary(max_size=40)
)
def test_no_body_is_answered_by_a_5xx(
    shared: ModelServer, path: str, body: Any, header: str | None, tail: bytes
) -> None:
    content = json.dumps(body).encode()
    headers = {}
    if header is not None:
        headers["inference-header-content-length"] = str(len(content)) if header == "right" else header
        content += tail
    answer = shared.client.post(path, content=content, headers={k: v.encode() for k, v in headers.items()})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]


GOOD = json.dumps({"inputs": [matrix(np.ones((1, 4), np.float32))], "id": "x"}).encode()
WIRE = b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(GOOD), GOOD)


@FUZZED
@given(st.lists(st.tuples(st.integers(0, len(WIRE) - 1), st.integers(0, 3), st.binary(max_size=3)), max_size=4))
def test_no_bytes_end_the_server(shared: ModelServer, damages: list[tuple[int, int, bytes]]) -> None:
    sent = bytearray(WIRE)
    for at, removed, put in damages:
        sent[at : at + removed] = put
    with socket.create_connection(("127.0.0.1", shared.port), timeout=DEADLINE) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        received = raw.makefile("rb").read()
    assert not received or received[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), received
    assert shared.process.poll() is None
