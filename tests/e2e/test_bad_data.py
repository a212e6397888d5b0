"""Data and models that are wrong in many ways: each is caught before promotion, and it is known by what.

The contract catches what rows alone show, a gate what the holdout shows, the shadow what only live traffic shows. The
table is printed at the end (`pytest -s`), and is what docs/bad-data.md shows.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
from collections.abc import Iterator

import polars as pl
import pytest

from .system import MODEL, NAME, System, rows

pytestmark = pytest.mark.timeout(240)

CONTRACT = """import pandera.polars as pa
from datetime import datetime
import polars as pl


class Payments(pa.DataFrameModel):
    amount: float = pa.Field(ge=0, le=1500)
    at: datetime
    hour: float

    @pa.dataframe_check
    def hour_is_that_of_the_time(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("hour") == pl.col("at").dt.hour())
"""
ROLLOUT = """shadow = { requests = 60, within = "40s" }
abort = { min_requests = 5, regression = 0.3, divergence = 0.1 }
"""
Told = list[tuple[str, str, str]]


def payments(day: int) -> pl.DataFrame:
    """As `rows`, with the hour that the event time has."""
    frame = rows(day).with_columns(pl.col("at").dt.hour().cast(pl.Float64).alias("hour"))
    chance = 1 / (1 + (3.0 - pl.col("amount") / 40 - 1.5 * (pl.col("hour") < 6)).exp())
    luck = pl.Series("luck", [random.Random(day * 7919 + n).random() for n in range(frame.height)])
    return frame.with_columns((luck < chance).cast(pl.Int64).alias("fraud"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("baddata"))
    try:
        made.start()
        made.replace("conveyor.toml", "rules = {", 'contract = "risk.contracts:Payments"\nrules = {')
        made.replace("conveyor.toml", "roc_auc = { min = 0.6 }", "roc_auc = { min = 0.7 }")
        made.replace("conveyor.toml", "abort = { min_requests = 5, regression = 0.3 }\n", ROLLOUT)
        made.replace("risk/model.py", "        time.sleep(1)\n", "")
        requirements = (made.source / "requirements.txt").read_text()
        made.write("requirements.txt", requirements + "pandera[polars]==0.35.0\n")
        made.write("risk/contracts.py", CONTRACT)
        commit = made.push("First version")
        for day in range(4):
            made.land(payments(day), f"day-{day}.parquet")
        made.wait_live(commit, 180)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    found: Told = []
    yield found
    for line in found:
        print(f"| {' | '.join(line)} |")


@contextlib.contextmanager
def asked(system: System) -> Iterator[dict[int, int]]:
    """Clients that ask for predictions until the block ends; answers by status."""
    stop, answers = threading.Event(), dict[int, int]()
    frame = payments(9).select("amount", "hour").rows()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
        for amount, hour in frame * 100:
            if stop.wait(0.03):
                break
            values = {"amount": amount, "hour": hour}
            tensors = [
                {"name": name, "datatype": "FP32", "shape": [1], "data": [value]} for name, value in values.items()
            ]
            connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": tensors}))
            response = connection.getresponse()
            response.read()
            answers[response.status] = answers.get(response.status, 0) + 1
        connection.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def test_the_contract_catches_other_units_and_another_time_zone(system: System, told: Told) -> None:
    before, after = system.live(), system.newest()
    cents = payments(4).with_columns(pl.col("amount") * 100)
    zone = payments(4).with_columns(pl.col("at").dt.offset_by("8h"), pl.col("id") + 5_000)
    for name, frame, rule in (("cents", cents, "amount"), ("zone", zone, "hour_is_that_of_the_time")):
        system.land(frame, f"{name}.parquet")
        event = system.event(after, "data.quarantined", file=f"{name}.parquet")
        assert event.data["rows"] > 0.9 * frame.height, event.data
        assert rule in json.dumps(event.data["reasons"])
        told.append((name, "contract", f"{event.data['rows']} of {frame.height} rows: {event.data['reasons']}"))
    system.wait(system.settled, "rest")
    assert system.live() == before


def test_a_gate_catches_flipped_labels_and_a_frozen_feature(system: System, told: Told) -> None:
    before = system.live()
    flipped = payments(5).with_columns(1 - pl.col("fraud"))
    frozen = payments(6).with_columns(pl.lit(20.0).alias("amount"))
    for name, frame in (("flipped", flipped), ("frozen", frozen)):
        after = system.newest()
        system.land(frame, f"{name}.parquet")
        refused = system.event(after, "model.refused", seconds=90)
        said = " ".join(refused.data["reasons"])
        assert "roc_auc" in said
        told.append((name, "gate", said))
    system.wait(system.settled, "rest")
    assert system.live() == before


def test_the_shadow_catches_what_the_holdout_does_not_show(system: System, told: Told) -> None:
    """A feature scaled in training alone ranks the holdout as well as before, but live scores are others."""
    before, after = system.models(), system.newest()
    for day in (7, 8, 9):
        system.land(payments(day), f"good-{day}.parquet")  # the bad days leave the holdout
    system.event(after, "data.version_created", seconds=60)
    system.wait(system.settled, "rest")
    before, after = system.models(), system.newest()
    system.replace("risk/model.py", ".to_numpy()\n        return", ".to_numpy() * [0.01, 1.0]\n        return")
    with asked(system) as answers:
        system.push("Train on another unit")
        aborted = system.event(after, "rollout.aborted", seconds=120)
        system.event(after, "rollout.rolled_back")
        assert "diverges from the live version" in aborted.data["reason"], aborted.data
        assert aborted.data["phase"] == "shadow"
        assert system.models() == before
        told.append(("unit in the training's code", "shadow", aborted.data["reason"]))
        view = system.client.release(NAME, "production", aborted.data["release"])
        assert view.shadows[0].result == "given up"
        assert view.shadows[0].requests >= 5

        after = system.newest()
        system.replace("risk/model.py", " * [0.01, 1.0]", " * [1.0, 1.0]")
        system.push("Train on the right unit again")
        event = system.event(after, "rollout.shadowed", seconds=120)
        assert event.data["requests"] >= 60, event.data
        assert event.data["result"] == "passed"
        assert event.data["unanswered"] == 0
        assert event.data["difference"] < 0.05
        system.wait(lambda: system.models().get(MODEL, 0) > before[MODEL], "the new version to be live", 60)
    assert set(answers) == {200}, answers
    view = system.client.release(NAME, "production", event.data["release"])
    shadow = view.shadows[0]
    assert shadow.sent >= shadow.requests == shadow.rows
    assert shadow.live_version < shadow.version
    assert shadow.p50_ms is not None
