"""Datasets of files as inputs: what `conveyor data add` made starts trainings, is read as a folder, can be pinned."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.config.load import load
from conveyor.delivery.desk import Desk
from conveyor.delivery.files import Files
from conveyor.delivery.lineage import LineageDesk
from conveyor.delivery.lineage_index import LineageIndex
from conveyor.delivery.retrain import Retrain
from conveyor.delivery.rows import Rows
from conveyor.delivery.train import TrainRecipe
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.lineage import Kind
from conveyor.domain.release import Build
from conveyor.domain.source import Source, read_of, source, versions_of
from conveyor.domain.state import DataTag, Project
from conveyor.domain.status_text import render
from conveyor.effects import jobs
from conveyor.engine.runs import Runs
from conveyor.errors import Conflict
from conveyor.stores.collections import BUILDS, DATA_TAGS, DATASET_VERSIONS, MODEL_VERSIONS, PROJECTS, RUNS
from conveyor.stores.data.opening import open_store
from conveyor.stores.rowlog import RowLog

from .conftest import Plane

CONFIG = """
[project]
name = "shop"

[data.shots]
kind = "files"
time = "at"
label = { column = "warm" }

[step.rows]
run = "shots:rows"
inputs = ["data.shots"]

[step.first]
command = "find $CONVEYOR_INPUT_SHOTS -type f | python -m shots $CONVEYOR_OUTPUT/output.parquet"
inputs = ["data.shots@v1"]

[model.warm]
train = "shots:train"
inputs = ["step.rows", "step.first"]
metric = "roc_auc"
retrain = { on = ["data"], debounce = "0s" }
gates = { leak = { max_single_feature_auc = 1.0 }, roc_auc = { min = 0.0 } }
"""
CODE = """
import sys
from datetime import datetime
from pathlib import Path

import polars as pl


def rows(shots: Path) -> pl.DataFrame:
    found = [(*path.read_text().split(), path.parent.name == "warm") for path in shots.rglob("*.txt")]
    return pl.DataFrame(
        {
            "at": [datetime.fromisoformat(at) for at, *_ in found],
            "light": [float(light) for _, light, _ in found],
            "warm": [int(warm) for *_, warm in found],
        }
    )


def train(rows: pl.DataFrame, first: pl.DataFrame, run):
    from sklearn.linear_model import LogisticRegression

    run.log_metric("first", first["files"][0])
    return LogisticRegression().fit(rows.select("light").to_pandas(), rows["warm"].to_numpy())


if __name__ == "__main__":
    count = len(sys.stdin.readlines())
    pl.DataFrame({"at": [datetime(2020, 1, 1)], "files": [count]}).write_parquet(sys.argv[1])
"""


def shoot(folder: Path, count: int, start: int = 0) -> None:
    """One picture an hour, the newest an hour ago: a warm one is lighter."""
    for number in range(start, start + count):
        kind = "warm" if number % 3 else "cold"
        at = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1 + number)
        path = folder / kind / f"{number:04d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{at.isoformat()} {50 + 30 * (kind == 'warm') + number % 37}")


def add(place: Path, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("conveyor")), "data", "add", *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CONVEYOR_")}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True).stdout


class Studio:
    """The controllers that a training needs, over a project whose pictures are versioned by the command line."""

    def __init__(self, plane: Plane) -> None:
        self.plane, self.context = plane, plane.context()
        settings = self.context.settings
        (settings.builds / "t").mkdir()
        (settings.builds / "t" / "shots.py").write_text(CODE)
        (settings.envs / "e").symlink_to(sys.prefix)
        (plane.root / "conveyor.toml").write_text(CONFIG)
        with self.context.records.transaction() as tx:
            tx.put(PROJECTS, Project("shop", datetime.now(UTC)))
            tx.put(BUILDS, Build("shop", "b", "c", "t", "e", load(CONFIG), datetime.now(UTC)))
        self.open()

    def open(self) -> None:
        recipe = TrainRecipe(self.context)
        self.files = Files(self.context, open_store(self.context.settings.home).versions)
        self.turns = [self.files, Retrain(self.context, recipe, self.files), Runs(self.context, [recipe])]

    def turn(self) -> None:
        for each in self.turns:
            each.turn()

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not done():
            failed = self.plane.events("run.failed")
            assert not failed, failed
            assert time.monotonic() < deadline, self.plane.events()
            self.turn()
            self.plane.clock.step(timedelta(seconds=0.05))
            time.sleep(0.05)

    def models(self) -> list[dict[str, int]]:
        with self.context.records.read() as tx:
            return [version.data for version in tx.find(MODEL_VERSIONS, newest=False)]

    def runs(self) -> list[dict[str, int]]:
        with self.context.records.read() as tx:
            return [run.params["data"] for run in tx.find(RUNS, newest=False)]


@pytest.fixture
def studio(plane: Plane) -> Studio:
    return Studio(plane)


def test_pictures_start_a_training_and_a_pinned_version_stays(studio: Studio) -> None:
    plane, context = studio.plane, studio.context
    pictures = plane.root / "pictures"
    shoot(pictures, 240)
    assert "shots v1: 240 files" in add(plane.root, "shots", "pictures")
    assert (plane.root / ".conveyor/data/versions/shop/shots").is_dir()  # in the project that declares it
    studio.until(lambda: bool(studio.models()))
    assert not list(context.settings.work.iterdir())  # the folders that steps read are gone
    shoot(pictures, 20, 240)
    (pictures / "cold" / "0000.txt").unlink()
    add(plane.root, "shots", "pictures", "-m", "one was blurred")
    studio.open()  # a control plane that starts now knows as much
    studio.until(lambda: len(studio.runs()) == 2)
    assert studio.models() == [{"shots": 1, "shots@v1": 1}]
    assert studio.runs() == [{"shots": 1, "shots@v1": 1}, {"shots": 2, "shots@v1": 1}]
    decided = [event.data["reason"] for event in plane.events("governor.decided") if event.data["train"]]
    assert "21 new labelled rows arrived since version 1" in decided[-1]
    told = plane.events("data.version_created")
    assert [(each.data["version"], each.data["rows"], each.data["new_rows"]) for each in told] == [
        (1, 240, 240),
        (2, 259, 21),
    ]
    index = LineageIndex(context)
    while index.turn() == 0.0:
        pass
    lineage = LineageDesk(context)
    assert {node.name for node in lineage.find("shop", "warm@1").of(Kind.DATA)} == {"shop/shots@1"}
    assert "259 files" in next(node.said for node in lineage.find("shop", "shots@2").of(Kind.DATA))
    assert {node.name for node in lineage.find("shop", "shots@1").of(Kind.MODEL)} == {"shop/warm@1"}
    rows = Rows(context, RowLog(context.settings.rows, 1 << 20))
    desk = Desk(context, lambda: None, lambda: True, dict, rows)
    assert "data shots: v2, 259 files" in render(desk.status(), datetime.now(UTC))
    with pytest.raises(Conflict, match="dataset of files"):
        desk.tables.table("shop", "shots", "latest")
    with context.records.read() as tx:
        (second,) = tx.find(RUNS, limit=1)
    studio.until(lambda: bool(list((context.settings.work / second.id).glob("rows/*/inputs/shots/warm/*.txt"))))
    jobs.end(next((context.settings.work / second.id).glob("rows/*")))


def test_what_is_pinned_is_found_by_version_tag_and_time(plane: Plane) -> None:
    context = plane.context()
    build = plane.build('[data.rows]\ntime = "at"\n[data.shots]\nkind = "files"\n')
    (plane.root / "shots").mkdir()
    for number in range(1, 4):
        (plane.root / "shots" / f"{number}").write_text("x" * number)
        add(plane.root, "shots", "shots", "--project", "shop")
    home = context.settings.home
    versions = open_store(home).versions
    files = Files(context, versions)
    assert files.turn() > 0
    with context.transaction() as tx:
        for number in (1, 2):
            tx.put(DATASET_VERSIONS, DatasetVersion("shop", "rows", number, None, "m", 1, 1, {}, plane.clock.now()))
        tx.put(DATA_TAGS, DataTag("shop/rows@golden", "shop/rows", "golden", 1))
    versions.tag(versions.get("shop", "shots", 2), "clean")
    with context.records.read() as tx:

        def number(reference: str) -> int | None:
            found = files.find(tx, build, source(reference))
            return found.version if found else None

        asked = ("data.rows", "data.rows@v1", "data.rows@golden", "data.rows@v9", "data.rows@none")
        assert [number(each) for each in asked] == [2, 1, 1, None, None]
        asked = ("data.shots", "data.shots@v1", "data.shots@clean", "data.shots@v9", "data.shots@2020-01-01")
        assert [number(each) for each in asked] == [3, 1, 2, None, None]
    assert source("data.rows@2018-05-01T00:00") == Source("data", "rows", "2018-05-01T00:00")
    remembered = {"rows": 4, "rows@golden": 1, "shots": 2}
    assert versions_of(remembered, "rows") == {1, 4}
    assert dict(read_of({"shots": 2})) == {"shots": 2}
