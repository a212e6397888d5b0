"""What models answered becomes `predictions/<model>`: each row once over crashes, over the API like any table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conveyor.delivery.lookup import manifest_of
from conveyor.delivery.predictions import Gathering, between, piece
from conveyor.domain import erasure, wire
from conveyor.domain.erasure import Erasure
from conveyor.domain.observation import Prediction
from conveyor.domain.project import ModelConfig, ObservationsConfig
from conveyor.domain.state import PredictionPart
from conveyor.domain.views import TableView
from conveyor.engine.context import Context
from conveyor.errors import InputRejected
from conveyor.monitoring.quality import scored
from conveyor.sdk import erased
from conveyor.stores import collections as c
from conveyor.stores.objects import Objects
from conveyor.tables.store import LocalStore
from conveyor.tables.table import Table

from .client import Client
from .world import START, TOKEN, World, full

MODEL = ModelConfig("fraud", "t:t", ("data.payments",), "average_precision")
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = full(tmp_path / ".conveyor")
    assert made.context.renew()
    yield made
    made.context.records.close()


def predict(world: World, version: int, ids: range, features: tuple[str, ...] = ("TX_AMOUNT",), mark: str = "") -> None:
    """As the monitor does with the segments of one version."""
    values = np.array([[id_ + 0.5] * len(features) for id_ in ids], np.float32)
    at = START.timestamp()
    found = [
        Prediction(f"p{id_}", at, "fraud", version, 1, row.tobytes(), b"\0\0\0\x3f", (f"k{id_}",), mark=mark)
        for id_, row in zip(ids, values, strict=True)
    ]
    with world.context.transaction() as tx:
        made = piece(world.context, tx, tx.need(c.MODEL_VERSIONS, f"shop/fraud@{version}"), scored(found, features))
        assert made is not None
        tx.put(c.PREDICTION_PARTS, made)


def waiting(world: World) -> list[PredictionPart]:
    with world.context.records.read() as tx:
        return tx.find(c.PREDICTION_PARTS, newest=False, limit=1000)


def table(world: World) -> Table:
    answer = Client(world.app).get("/v1/projects/shop/data/predictions%2Ffraud/table", headers=BEARER)
    assert answer.status_code == 200, answer.text
    objects = world.context.settings.objects
    return Table(wire.from_json(answer.content, TableView), LocalStore(objects, verify=True))


def test_predictions_become_versions_of_one_table_whatever_their_models_features(world: World) -> None:
    gathering = Gathering(world.context)
    predict(world, 2, range(4))
    predict(world, 3, range(4, 6), ("TX_AMOUNT", "score"))
    pieces = waiting(world)
    assert gathering.gather("shop", MODEL, pieces) is not None
    predict(world, 2, range(6, 8), mark="shadow")
    gathering.gather("shop", MODEL, waiting(world))
    assert waiting(world) == []
    assert not any(world.context.objects.has(each.digest) for each in pieces)  # no second copy of the bytes
    found = table(world)
    frame = found.frame().sort("id")
    assert (found.version, found.view.time, found.view.key) == (2, "time", "id")
    assert frame["id"].to_list() == [f"p{n}" for n in range(8)]
    assert frame["key"].to_list() == [f"k{n}" for n in range(8)]
    assert frame["TX_AMOUNT"].to_list() == [n + 0.5 for n in range(8)]
    assert frame["score"].to_list() == [0.5] * 8
    assert frame["feature_score"].to_list() == [None] * 4 + [4.5, 5.5] + [None] * 2
    assert frame["release"].to_list() == [1] * 4 + [2, 2] + [1, 1]
    assert frame["mark"].to_list() == [""] * 4 + ["canary"] * 2 + ["shadow"] * 2
    assert found.profile is not None
    assert (found.profile.rows, found.profile.columns["feature_score"].nulls) == (8, 6)
    assert found.frame(window="1h").height == 8
    export = world.desk.tables.table("shop", "predictions/fraud", "v1")
    assert export.version.rows == 6


def test_a_crash_at_any_line_neither_loses_nor_repeats_a_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(world, 2, range(3))
    with monkeypatch.context() as patch:
        patch.setattr(Context, "transaction", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Gathering(world.context).gather("shop", MODEL, waiting(world))
    before = waiting(world)
    assert len(before) == 1
    with monkeypatch.context() as patch:  # after the transaction, before the pieces were deleted
        patch.setattr(Objects, "delete", lambda self, digest: (_ for _ in ()).throw(KeyboardInterrupt))
        predict(world, 2, range(3, 5))
        with pytest.raises(KeyboardInterrupt):
            Gathering(world.context).gather("shop", MODEL, waiting(world))
    assert waiting(world) == []
    assert sorted(table(world).frame()["id"]) == [f"p{n}" for n in range(5)]
    # One that read the same pieces before they went commits nothing.
    with world.context.records.read() as tx:
        (version,) = tx.find(c.DATASET_VERSIONS, where={"dataset": "shop/predictions/fraud"})
    (piece_,) = before
    (part,) = manifest_of(world.context.objects, version).parts
    assert Gathering(world.context).gather("shop", MODEL, [replace(piece_, digest=part.digest)]) is None
    with world.context.records.read() as tx:
        assert tx.find(c.DATASET_VERSIONS, where={"dataset": "shop/predictions/fraud"}) == [version]


def test_what_was_erased_or_is_too_old_is_not_kept(world: World) -> None:
    salt = "ab" * 32
    gone = Erasure("e1", "shop/predictions/fraud", "key", salt, erased.digest("k1", salt), START, "Ada")
    with world.context.transaction() as tx:
        tx.put(c.ERASURES, gone)
        assert erasure.keys([gone])
    predict(world, 2, range(3))
    Gathering(world.context).gather("shop", MODEL, waiting(world))
    assert sorted(table(world).frame()["id"]) == ["p0", "p2"]
    short = replace(MODEL, observations=ObservationsConfig(keep=timedelta(days=1)))
    world.context.clock.step(timedelta(days=2))  # type: ignore[attr-defined]
    predict(world, 2, range(3, 4))
    Gathering(world.context).gather("shop", short, waiting(world))
    assert table(world).frame()["id"].to_list() == ["p3"]


def test_the_controller_waits_for_more_and_monitoring_sees_what_waits(world: World) -> None:
    gathering = Gathering(world.context)

    def turn() -> None:
        gathering.turn()
        if gathering._thread is not None:
            gathering._thread.join()
        gathering.turn()

    predict(world, 2, range(3))
    turn()
    assert len(waiting(world)) == 1
    since, until = START - timedelta(days=1), START
    with world.context.records.read() as tx:
        assert between(world.context, tx, "shop", "fraud", since, until)[1] == 3
    world.context.clock.step(MODEL.observations.debounce)  # type: ignore[attr-defined]
    predict(world, 2, range(3, 4))
    turn()
    assert waiting(world) == []
    with world.context.records.read() as tx:
        digests, rows = between(world.context, tx, "shop", "fraud", since, until)
    assert (len(digests), rows) == (1, 4)
    assert pl.read_parquet(world.context.objects.path(digests[0])).height == 4
    with pytest.raises(InputRejected, match="Conveyor itself makes it"):
        world.desk.rows.accept("shop", "predictions/fraud", "application/x-ndjson", "", b"{}")


def test_what_is_damaged_is_given_up_and_told(world: World) -> None:
    predict(world, 2, range(5))
    predict(world, 2, range(5, 12))
    first, second = waiting(world)
    world.context.objects.delete(first.digest)
    made = Gathering(world.context).gather("shop", MODEL, [first, second])
    assert made is not None
    assert (made.rows, waiting(world)) == (second.rows, [])
    predict(world, 2, range(20, 23))
    (last,) = waiting(world)
    world.context.objects.delete(last.digest)
    assert Gathering(world.context).gather("shop", MODEL, [last]) is None
    assert Gathering(world.context).gather("shop", MODEL, [last]) is None  # another one saw it at the same moment
    with world.context.records.read() as tx:
        told = tx.events(types=("signal.observations_lost",), limit=10)
    assert [event.data["rows"] for event in told] == [first.rows, last.rows]
    assert waiting(world) == []
