"""Lineage over records of many months, against the plain definition: which stretches of time touch which files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conveyor.delivery.lineage import LineageDesk
from conveyor.delivery.lineage_index import LineageIndex
from conveyor.domain import wire
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.lineage import Kind, Lineage
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.monitor import Window
from conveyor.domain.release import Release
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.domain.state import Arrival
from conveyor.domain.step import Slice, TrainingReport
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores import collections as c

from .conftest import START, Plane

CONFIG = """
[data.days]
watch = "in/*.csv"
time = "at"
label = { column = "y", delay = "7d" }

[model.fraud]
train = "shop.fraud:train"
inputs = ["data.days"]
metric = "roc_auc"

[service.web]
run = "python -m web"
uses = ["model.fraud"]
"""
DAYS, EVERY = 120, 20
FIRST = datetime(2025, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def day(number: int) -> datetime:
    return FIRST + number * DAY


def stretches(number: int) -> dict[str, tuple[datetime, datetime]]:
    """Of the model that was trained when so many days were there: 28 days, and 7 to judge it on."""
    end = day(number - 7)
    return {"holdout": (end - 7 * DAY, end), "training": (end - 35 * DAY, end - 7 * DAY)}


def fill(context: Context) -> None:
    """A file a day, each a version; every 20 days a model, which is released."""
    parts: list[Part] = []
    for number in range(DAYS):
        digest, version = f"{number:064x}", number + 1
        parts.append(Part(f"p{number}", 10, 10, day(number), day(number) + DAY / 2, f"{number}.csv", digest))
        manifest = context.objects.put(wire.to_json(Manifest(tuple(parts))))
        parent = version - 1 or None
        made = DatasetVersion(
            "shop", "days", version, parent, manifest, 10 * version, 9, {}, START, sources=(f"{number}.csv",)
        )
        arrival = Arrival(f"shop/days/{digest}", "shop", "days", f"{number}.csv", digest, START, "taken", f"i{number}")
        run = Run(
            f"i{number}", "shop", "ingest", "shop/days", {}, (), START, RunState.SUCCEEDED, result={"version": version}
        )
        with context.records.transaction() as tx:
            tx.put(c.DATASET_VERSIONS, made)
            tx.put(c.ARRIVALS, arrival)
            tx.put(c.RUNS, run)
            tx.append(context.event("data.arrived", "data/shop/days", "shop", file=arrival.file, digest=digest))
        if version % EVERY == 0 and version >= 2 * EVERY:
            train(context, version // EVERY - 1, version)


def train(context: Context, number: int, version: int) -> None:
    found = {name: Slice(after, until, 10, 5) for name, (after, until) in stretches(version).items()}
    report = TrainingReport(
        ("x",), found["training"], found["holdout"], Parity(1, 0.0, 1.0), "f", "float", "roc_auc", 0.9, None, 1.0, 1.0
    )
    outputs = {"training.json": context.objects.put(wire.to_json(report))}
    step = Step("train", state=StepState.SUCCEEDED, outputs=outputs)
    run = Run(f"t{number}", "shop", "train", "shop/fraud", {}, (step,), START, RunState.SUCCEEDED)
    signature, parity = Signature(("x",), (), (), Score("p")), Parity(1, 0.0, 1.0)
    model = ModelVersion(
        "shop", "fraud", number, ModelStatus.READY, {}, signature, {}, (), parity, run.id, "c",
        {"days": version}, "data", START, labelled_until=stretches(version)["holdout"][1],
    )  # fmt: skip
    release = Release("shop", "production", number, "b", "c", {"fraud": number}, "a new model", START)
    with context.records.transaction() as tx:
        tx.put(c.RUNS, run)
        tx.put(c.MODEL_VERSIONS, model)
        tx.append(context.event("model.version_created", "model/shop/fraud", "shop", version=number))
        tx.put(c.RELEASES, release)
        about = "environment/shop/production"
        tx.append(context.event("release.created", about, "shop", release=number, models={"fraud": number}))


@pytest.fixture
def desk(plane: Plane) -> LineageDesk:
    context = plane.context()
    plane.build(CONFIG)
    fill(context)
    return LineageDesk(context)


def index(plane: Plane) -> None:
    follower = LineageIndex(plane.contexts[-1])
    while follower.turn() == 0.0:
        pass


def names(found: Lineage, kind: Kind) -> list[str]:
    return sorted(node.name for node in found.of(kind))


def models() -> dict[int, int]:
    """Model version -> dataset version."""
    return {v // EVERY - 1: v for v in range(2 * EVERY, DAYS + 1, EVERY)}


def touched(number: int, version: int) -> list[str]:
    """What the model of that version did with the file of that day, by the definition alone."""
    first, last = day(number), day(number) + DAY / 2
    if number >= version:
        return []
    return [name for name, (after, until) in stretches(version).items() if last > after and first <= until]


def test_a_file_leads_to_just_the_models_that_read_it(plane: Plane, desk: LineageDesk) -> None:
    index(plane)
    for number in range(0, DAYS, 3):
        found = desk.find("shop", f"{number}.csv")
        wanted = {f"shop/fraud@{m}": touched(number, v) for m, v in models().items() if touched(number, v)}
        assert names(found, Kind.MODEL) == sorted(wanted), number
        for node in found.of(Kind.MODEL):
            said = {"training": "trained on", "holdout": "judged on"}
            assert set(node.figures["use"].split(" and ")) == {said[name] for name in wanted[node.name]}
        assert names(found, Kind.DATA) == [f"shop/days@{number + 1}"]
        assert names(found, Kind.RELEASE) == sorted(f"shop/production/{name.partition('@')[2]}" for name in wanted)
    assert desk.find("shop", f"{5:064x}") == desk.find("shop", "5.csv")


def test_a_model_leads_back_to_just_its_files(plane: Plane, desk: LineageDesk) -> None:
    index(plane)
    for model, version in models().items():
        found = desk.find("shop", f"fraud@{model}")
        assert names(found, Kind.ARRIVAL) == sorted(f"{n}.csv" for n in range(DAYS) if touched(n, version))
        assert names(found, Kind.DATA) == [f"shop/days@{version}"]
        assert names(found, Kind.RELEASE) == [f"shop/production/{model}"]
    asked = desk.find("shop", "days@v40")
    assert names(asked, Kind.ARRIVAL) == ["39.csv"]
    assert names(asked, Kind.MODEL) == ["shop/fraud@1"]
    assert desk.find("shop", "fraud").nodes[0].name == f"shop/fraud@{max(models())}"
    for unknown in ("days@999", "fraud@99", "nothing.csv", "days@x", "@", ""):
        with pytest.raises(NotFound):
            desk.find("shop", unknown)


def test_predictions_are_counted_once_over_restarts(plane: Plane, desk: LineageDesk) -> None:
    context = plane.contexts[-1]

    def close(number: int, rows: int) -> None:
        moments: Any = {"first": START + number * DAY, "last": START + (number + 1) * DAY}
        window = Window(f"shop/fraud@1#{number}", "shop/fraud", 1, number, rows, {}, None, 0, 0.5, **moments)
        with context.records.transaction() as tx:
            tx.put(c.WINDOWS, window)
            about = "model/shop/fraud"
            tx.append(context.event("monitor.window_closed", about, "shop", version=1, window=number, rows=rows))

    close(1, 500)
    index(plane)
    index(plane)  # another control plane
    close(2, 250)
    index(plane)
    (node,) = desk.find("shop", "fraud@1").of(Kind.MODEL)
    assert node.figures["predictions"] == 750
    assert (node.figures["first"], node.figures["last"]) == (START + DAY, START + 3 * DAY)
    assert "750 predictions from 2026-06-02 00:00 to 2026-06-04 00:00" in node.said
