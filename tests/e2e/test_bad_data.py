"""Data and models that are wrong in many ways: each is caught before promotion, and it is known by what.

The contract catches what rows alone show, a gate what the holdout shows, the shadow what only live traffic shows. The
table is printed at the end (`pytest -s`), and is what docs/bad-data.md shows.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator

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
ROLLOUT = """shadow = { requests = 60, within = "20s" }
abort = { min_requests = 5, regression = 0.3, divergence = 0.15 }
"""
Told = list[tuple[str, str, str]]


def payments(day: int) -> pl.DataFrame:
    """As `rows`, with the hour that the event time has."""
    frame = rows(day).with_columns(pl.col("at").dt.hour().cast(pl.Float64).alias("hour"))
    chance = 1 / (1 + (5.0 - pl.col("amount") / 15 - 1.5 * (pl.col("hour") < 6)).exp())
    luck = pl.Series("luck", [random.Random(day * 7919 + n).random() for n in range(frame.height)])
    return frame.with_columns((luck < chance).cast(pl.Int64).alias("fraud"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("baddata"))
    try:
        made.start()
        made.replace("conveyor.toml", "rules = {", 'contract = "risk.contracts:Payments"\nrules = {')
        made.replace("conveyor.toml", "roc_auc = { min = 0.6 }", "roc_auc = { min = 0.65 }")
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


@pytest.fixture(scope="module", autouse=True)
def traffic(system: System) -> Iterator[dict[int, int]]:
    """A client that asks for predictions all the while; answers by status."""
    stop, answers = threading.Event(), dict[int, int]()
    frame = payments(11)

    def ask() -> None:
        for start in itertools.cycle(range(frame.height)):
            if stop.wait(0.03):
                return
            status = infer(system, frame.slice(start, 1))
            answers[status] = answers.get(status, 0) + 1

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def rested(system: System) -> Callable[[], dict[str, int]]:
    """What is live once nothing is in flight."""
    return lambda: system.models() if system.settled() else {}


def infer(system: System, frame: pl.DataFrame) -> int:
    """Asks for predictions of these rows; the status."""
    tensors = [
        {"name": name, "datatype": "FP32", "shape": [frame.height], "data": frame[name].to_list()}
        for name in ("amount", "hour")
    ]
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
    try:
        connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": tensors}))
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_the_contract_catches_other_units_and_another_time_zone(system: System, told: Told) -> None:
    after = system.newest()
    cents = payments(4).with_columns(pl.col("amount") * 100)
    zone = payments(4).with_columns(pl.col("at").dt.offset_by("8h"), pl.col("id") + 5_000)
    for name, frame, rule in (("cents", cents, "amount"), ("zone", zone, "hour_is_that_of_the_time")):
        system.land(frame, f"{name}.parquet")
        event = system.event(after, "data.quarantined", file=f"{name}.parquet")
        assert event.data["rows"] > 0.9 * frame.height, event.data
        assert rule in json.dumps(event.data["reasons"])
        told.append((name, "contract", f"{event.data['rows']} of {frame.height} rows: {event.data['reasons']}"))


def test_a_gate_catches_flipped_labels_and_a_frozen_feature(system: System, told: Told) -> None:
    """Labels are known a day later: the good day after a bad one makes that the holdout."""
    system.wait(rested(system), "rest")
    flipped = payments(5).with_columns((1 - pl.col("fraud")).alias("fraud"))
    frozen = payments(7).with_columns(pl.lit(20.0).alias("amount"))
    for name, frame, following in (("flipped", flipped, 6), ("frozen", frozen, 8)):
        after = system.newest()
        system.land(pl.concat([frame, payments(following)]), f"{name}.parquet")
        refused = system.event(after, "model.refused", seconds=90)
        said = " ".join(refused.data["reasons"])
        assert "roc_auc" in said
        told.append((name, "gate", said))
        assert system.wait(rested(system), "rest")[MODEL] != refused.data["version"]


def test_the_shadow_catches_what_was_learned_from_flipped_labels(
    system: System, told: Told, traffic: dict[int, int]
) -> None:
    """The flipped day is in the training window now, and good days are the holdout: the gate lets it pass."""
    before, after = system.wait(rested(system), "rest"), system.newest()
    system.land(pl.concat([payments(9), payments(10)]), "good.parquet")
    aborted = system.event(after, "rollout.aborted", seconds=120)
    assert "diverges from the live version" in aborted.data["reason"], aborted.data
    assert aborted.data["phase"] == "shadow"
    told.append(("a version that learned the flipped day", "shadow", aborted.data["reason"]))
    system.event(after, "rollout.rolled_back")
    assert system.wait(rested(system), "rest") == before
    shadow = system.client.release(NAME, "production", aborted.data["release"]).shadows[0]
    assert shadow.result == "given up"
    assert shadow.sent >= shadow.requests == shadow.rows >= 5
    assert shadow.live_version < shadow.version
    assert shadow.unanswered == shadow.broken == 0
    assert shadow.p50_ms is not None
    assert set(traffic) == {200}, traffic
