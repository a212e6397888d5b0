"""POST rows: taken once, refused clearly, bounded, and then part of the dataset's arrivals exactly once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from conveyor.delivery.rows import Rows
from conveyor.domain.project import DataConfig
from conveyor.domain.rows import LARGEST, MOST_KEYS, REMEMBERED
from conveyor.sdk import rows as reading
from conveyor.stores import collections as c
from conveyor.stores.rowlog import RowLog

from .client import Client
from .world import TOKEN, World, full

PATH = "/v1/data/days/rows"
NDJSON = {"authorization": f"Bearer {TOKEN}", "content-type": "application/x-ndjson"}
DATA = DataConfig("days", debounce=timedelta(0))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = full(tmp_path / ".conveyor")
    with made.context.records.transaction() as tx:
        (build,) = tx.find(c.BUILDS)
        build.config.data["days"] = DATA
        tx.put(c.BUILDS, build)
    assert made.context.renew()
    yield made
    made.context.records.close()


def post(world: World, body: bytes, key: str = "", path: str = PATH, **headers: str) -> httpx.Response:
    named = {"idempotency-key": key} if key else {}
    return Client(world.app).post(path, content=body, headers=NDJSON | named | headers)


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def taken(world: World, tmp_path: Path) -> list[int]:
    """The ids of all rows in arrivals, each segment read as an ingest reads it."""
    with world.context.records.read() as tx:
        found = tx.find(c.ARRIVALS, where={"dataset": "shop/days"}, newest=False)
    ids: list[int] = []
    for arrival in found:
        ids += reading.read(world.context.objects.path(arrival.digest), arrival.file, None)["id"].to_list()
    return ids


def test_rows_are_taken_once_whatever_the_client_does(world: World, tmp_path: Path) -> None:
    first = post(world, b'{"id": 1}\n{"id": 2}\n', "k1")
    assert (first.status_code, first.json()) == (202, {"rows": 2, "duplicate": False})
    assert post(world, b'{"id": 1}\n{"id": 2}\n', "k1").json() == {"rows": 2, "duplicate": True}
    assert error(post(world, b'{"id": 3}\n', "k1")) == (409, "conflict")
    assert post(world, b'{"id": 3}\n', path="/v1/projects/shop/data/days/rows").status_code == 202
    target = io.BytesIO()
    pl.DataFrame({"id": [4]}).write_ipc_stream(target)
    arrow = {"content-type": "application/vnd.apache.arrow.stream"}
    assert post(world, target.getvalue(), "k2", **arrow).json()["rows"] == 1
    world.desk.rows._log.seal("shop/days", older=0)
    world.desk.rows.turn("shop", DATA)
    assert sorted(taken(world, tmp_path)) == [1, 2, 3, 4]
    assert world.desk.rows._log.size == 0
    # Another control plane: the keys of what has left the log are on record.
    log = RowLog(world.context.settings.rows, 2**20)
    again = Rows(world.context, log)
    again.turn("shop", DATA)
    done = again.accept("", "days", "application/x-ndjson", "k1", b'{"id": 1}\n{"id": 2}\n').result(5)
    assert done.duplicate
    assert log.size == 0


def test_a_crash_between_arrival_and_deletion_brings_nothing_twice(world: World, tmp_path: Path) -> None:
    assert post(world, b'{"id": 1}\n', "k1").status_code == 202
    rows, log = world.desk.rows, world.desk.rows._log
    log.seal("shop/days", older=0)
    (segment,) = log.sealed("shop/days")
    kept = segment.read_bytes()
    rows.turn("shop", DATA)
    segment.write_bytes(kept)  # as if the deletion had not come to pass
    with world.context.records.transaction() as tx:
        (arrival,) = tx.find(c.ARRIVALS, where={"dataset": "shop/days"})
        tx.put(c.ARRIVALS, type(arrival)(**{**_fields(arrival), "state": "taken"}))
    later = Rows(world.context, RowLog(world.context.settings.rows, 2**20))
    later.turn("shop", DATA)
    assert taken(world, tmp_path) == [1]
    assert not segment.exists()


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_keys_are_forgotten_after_their_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, log = world.desk.rows, world.desk.rows._log

    def send(number: int) -> bool:
        with world.context.records.transaction() as tx:
            for arrival in tx.find(c.ARRIVALS, where={"dataset": "shop/days"}):
                tx.delete(c.ARRIVALS, arrival.id)
        duplicate: bool = post(world, b'{"id": %d}\n' % number, f"key-{number}").json()["duplicate"]
        log.seal("shop/days", older=0)
        rows.turn("shop", DATA)
        return duplicate

    assert [send(1), send(1)] == [False, True]
    world.context.clock.step(REMEMBERED)  # type: ignore[attr-defined]
    assert [send(2), send(1), send(2)] == [False, False, True]
    with world.context.records.read() as tx:
        assert tx.count(c.ROW_KEYS) == 2
    assert MOST_KEYS > 100_000


def test_what_cannot_be_taken_is_refused_whole_and_says_why(world: World) -> None:
    assert error(post(world, b'{"id": 1}\n{"id": \n', "k")) == (422, "input.rejected")
    assert error(post(world, b'{"id": 1}\n', **{"content-type": "text/csv"})) == (422, "input.rejected")
    assert error(post(world, b'{"id": 1}\n', "k" * 300)) == (422, "input.rejected")
    assert error(post(world, b'{"id": 1}\n', **{"content-encoding": "gzip"})) == (422, "input.rejected")
    assert error(post(world, b'{"id": 1}\n', path="/v1/data/nothing/rows")) == (404, "not_found")
    assert error(post(world, b'{"id": 1}\n', path="/v1/data/days/rows?project=else")) == (404, "not_found")
    assert error(post(world, b" " * (LARGEST + 1))) == (413, "input.too_large")
    assert error(post(world, b"1", authorization="")) == (401, "unauthorized")
    assert world.desk.rows._log.size == 0
    assert post(world, b'{"id": 1}\n', "k").status_code == 202


def test_a_backlog_asks_clients_to_come_again(world: World, tmp_path: Path) -> None:
    world.desk.rows._log._limit = 40
    assert post(world, b'{"id": 1, "text": "a long one"}\n', "k1").status_code == 202
    full_ = post(world, b'{"id": 2, "text": "a long one"}\n', "k2")
    assert error(full_) == (429, "overloaded")
    assert int(full_.headers["retry-after"]) > 0
    assert full_.json()["error"]["retryable"]
    world.desk.rows._log.seal("shop/days", older=0)
    world.desk.rows.turn("shop", DATA)
    assert post(world, b'{"id": 2, "text": "a long one"}\n', "k2").status_code == 202
    assert taken(world, tmp_path) == [1]


@pytest.mark.parametrize(
    "name",
    [
        "x" * 4000 + ".csv",
        "..%2F..%2Fetc%2Fpasswd.csv",
        "%2Fabs.csv",
        "a%00b.csv",
        "a%0Ab.csv",
        "%FF%FE.csv",
        "..",
        "%2e%2e",
    ],
)
def test_uploads_with_hostile_names_are_refused_and_leave_nothing(world: World, name: str) -> None:
    before = {
        path for path in world.context.settings.root.rglob("*") if path.is_file() and "conveyor.db" not in path.name
    }
    answer = Client(world.app)._call(
        "PUT", f"/v1/projects/shop/data/days/files/{name}", {"content": b"a\n1\n", "headers": NDJSON}
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["code"] in ("input.rejected", "not_found")
    after = {
        path for path in world.context.settings.root.rglob("*") if path.is_file() and "conveyor.db" not in path.name
    }
    assert after == before
