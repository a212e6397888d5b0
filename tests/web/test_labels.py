"""Labels by request: taken once, corrected, early, late, never; durable, and then a dataset like any."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from conveyor.delivery.arrivals import Arrivals
from conveyor.delivery.ingest import IngestRecipe
from conveyor.delivery.predictions import keep, piece
from conveyor.delivery.rows import Rows
from conveyor.delivery.truths import Truths
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.observation import Prediction
from conveyor.domain.project import LabelsConfig, ModelConfig
from conveyor.domain.run import RunState
from conveyor.engine.runs import Runs
from conveyor.monitoring.quality import scored
from conveyor.stores import collections as c
from conveyor.stores import manifests
from conveyor.stores.rowlog import RowLog

from .client import Client
from .test_predictions import predict
from .world import START, TOKEN, World, full

PATH = "/v1/models/fraud/labels"
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = full(tmp_path / ".conveyor")
    assert made.context.renew()
    settings = made.context.settings
    with made.context.transaction() as tx:
        for run in tx.find(c.RUNS):
            tx.delete(c.RUNS, run.id)  # what the story left open is no business of these tests
    (settings.builds / ("c" * 64)).mkdir(parents=True)
    (settings.envs / ("e" * 64)).symlink_to(sys.prefix)
    yield made
    made.context.records.close()


def post(world: World, body: bytes, media: str = "application/x-ndjson", key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": media} | ({"idempotency-key": key} if key else {})
    return Client(world.app).post(PATH, content=body, headers=headers)


def get(world: World, what: str) -> Any:
    path = f"/v1/projects/shop/models/fraud/labels{what}"
    return Client(world.app).get(path, headers={"authorization": f"Bearer {TOKEN}"}).json()


def ingest(world: World, rows: Rows) -> None:
    """As the reconciler does, in a real process, until nothing waits."""
    arrivals, runs = Arrivals(world.context, rows), Runs(world.context, [IngestRecipe(world.context)])
    rows._log.seal("shop/labels/fraud", older=0)
    for _ in range(2000):
        arrivals.turn()
        runs.turn()
        world.context.clock.step(timedelta(seconds=1))  # type: ignore[attr-defined]
        assert world.context.renew()
        with world.context.records.read() as tx:
            where = {"dataset": "shop/labels/fraud"}
            states = {each.state for each in tx.find(c.ARRIVALS, where=where, limit=1000)}
            open_ = [run for run in tx.find(c.RUNS, where={"kind": "ingest"}) if run.state is RunState.RUNNING]
        if states == {"taken"} and not open_ and not rows._log.size:
            return
        time.sleep(0.01)
    raise AssertionError(states)


def test_labels_come_in_every_form_once_and_corrections_count(world: World) -> None:
    predict(world, 2, range(6))
    assert post(world, b'{"id": "p0", "label": true, "time": "2026-03-01T00:00:00Z"}', "application/json").json() == {
        "rows": 1,
        "duplicate": False,
    }
    batch = b'[{"id": "p0", "label": 1}, {"key": "k1", "label": 0}]'
    assert post(world, batch, "application/json", "once").json()["rows"] == 2
    assert post(world, batch, "application/json", "once").json() == {"rows": 2, "duplicate": True}
    assert post(world, batch[:-1] + b"]  ", "application/json", "once").status_code == 409
    assert post(world, b'{"id": "later", "label": "1"}\n{"key": "k2", "label": 1.0}\n').json()["rows"] == 2
    target = io.BytesIO()
    pl.DataFrame({"key": ["k3", "k1"], "label": [False, True], "time": [START] * 2}).write_ipc_stream(target)
    assert post(world, target.getvalue(), ARROW).json()["rows"] == 2
    # A control plane that was killed here: what was answered for is in its log, and comes once.
    for place in list(world.desk.rows._log._open):
        world.desk.rows._log._close(place)
    ingest(world, Rows(world.context, RowLog(world.context.settings.rows, 2**20)))
    status = get(world, "/status")
    told = {name: status[name] for name in ("predictions", "labelled", "pending", "never", "labels", "unknown")}
    assert told == {"predictions": 6, "labelled": 4, "pending": 2, "never": 0, "labels": 7, "unknown": 1}
    assert status["waiting"] == 0
    view = Client(world.app).get("/v1/predictions/k1", headers={"authorization": f"Bearer {TOKEN}"}).json()
    assert (view["id"], view["model"], view["version"], view["release"]) == ("p1", "shop/fraud", 2, 1)
    assert (view["features"], view["score"], view["label"]) == ({"TX_AMOUNT": 1.5}, 0.5, "1")
    assert view["data"] == {"payments": 12}
    other = Client(world.app).get("/v1/predictions/p1/0?model=fraud", headers={"authorization": f"Bearer {TOKEN}"})
    assert other.status_code == 404
    world.context.clock.step(timedelta(days=31))  # type: ignore[attr-defined]
    assert (get(world, "/status")["pending"], get(world, "/status")["never"]) == (0, 2)
    listed = get(world, "?limit=100")
    assert len(listed) == 7  # the history stays
    assert {each["label"] for each in listed} == {"0", "1"}
    with world.context.records.read() as tx:
        (version,) = tx.find(c.DATASET_VERSIONS, where={"dataset": "shop/labels/fraud"})
    assert version.schema["label"] == "String"


@pytest.mark.parametrize(
    ("body", "media", "why"),
    [
        (b'{"id": "p", "label": 1}', "text/csv", "cannot be read from 'text/csv'"),
        (b'{"label": 1}', "application/x-ndjson", "label 1 of the request names no prediction"),
        (b'{"id": "p", "label": null}', "application/x-ndjson", "cannot be read"),
        (b'{"id": "p", "label": 1, "colour": 2}', "application/x-ndjson", "colour"),
        (b'{"id": "p", "label": 1, "time": "2999-01-01T00:00:00Z"}', "application/json", "still to come"),
        (b"[]", "application/json", "no labels"),
        (b"{", "application/json", "cannot be read"),
        (b"[" * 100_000, "application/json", "cannot be read"),
        (b"nothing", ARROW, "no Arrow stream"),
    ],
)
def test_what_is_no_label_is_refused_whole(world: World, body: bytes, media: str, why: str) -> None:
    answer = post(world, body, media)
    assert answer.status_code == 422, answer.text
    assert why in answer.json()["error"]["message"] + answer.json()["error"].get("hint", "")
    assert world.desk.rows._log.size == 0


def test_who_may_not_send_rows_may_not_send_labels(world: World) -> None:
    assert Client(world.app).post(PATH, content=b"{}").status_code == 401
    unknown = Client(world.app).post(
        "/v1/models/none/labels",
        content=b"{}",
        headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    )
    assert unknown.status_code == 404


def test_quality_is_measured_once_the_slower_class_has_told_its_labels(world: World) -> None:
    """One class's labels come in 1 to 2 hours, the other's in twice that: naively, nearly all labelled are of one."""
    random = np.random.default_rng(0)
    model = ModelConfig("fraud", "t:t", (), "roc_auc", labels=LabelsConfig(horizon=timedelta(hours=12)))
    rows, now = 20_000, START + timedelta(hours=30)
    at = START.timestamp() + np.sort(random.uniform(0, 30 * 3600, rows))
    positive = random.random(rows) < 0.3
    told = at + random.uniform(3600, 7200, rows) * np.where(positive, 2, 1)
    seen = told <= now.timestamp()
    scores = random.random(rows).astype("<f4")
    found = [Prediction(f"p{n}", at[n], "fraud", 2, 1, b"", scores[n].tobytes(), mark="") for n in range(rows)]
    world.context.clock.step(now - world.context.clock.now())  # type: ignore[attr-defined]
    assert world.context.renew()
    labels = pl.DataFrame(
        {
            "id": [f"p{n}" for n in np.flatnonzero(seen)],
            "key": pl.Series([None] * int(seen.sum()), dtype=pl.String),
            "label": positive[seen].astype(int).astype(str),
            "time": pl.Series((told[seen] * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC")),
        }
    )
    with world.context.transaction() as tx:
        made = piece(world.context, tx, tx.need(c.MODEL_VERSIONS, "shop/fraud@2"), scored(found))
        assert made is not None
        tx.put(c.PREDICTION_PARTS, made)
        digest, size = keep(world.context.objects, labels)
        manifest = manifests.put(world.context.objects, Manifest((Part(digest, labels.height, size),)))
        schema = {name: str(kind) for name, kind in labels.schema.items()}
        tx.put(
            c.DATASET_VERSIONS,
            DatasetVersion("shop", "labels/fraud", 1, None, manifest, labels.height, size, schema, now),
        )
    truths = Truths(world.context)
    assert truths.any("shop", model)
    cohort = truths.due("shop", model)
    assert cohort is not None
    naive = positive[seen & (at > now.timestamp() - 4 * 3600)].mean()
    assert naive < 0.2  # of those that are labelled already
    assert timedelta(hours=3.5) < now - cohort.until <= timedelta(hours=4)
    newest = cohort.rows.filter(pl.col("at") > cohort.until - timedelta(hours=4))
    assert newest["label"].mean() == pytest.approx(0.3, abs=0.03)
    begin = now.timestamp() - 24 * 3600  # two horizons back
    assert cohort.rows.height == pytest.approx(((at > begin) & (at <= cohort.until.timestamp())).sum(), rel=0.005)
    assert truths.due("shop", model) is None  # nothing came since
