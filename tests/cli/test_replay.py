"""`conveyor replay` in a folder of its own: a stream whose world turns in the middle, labels two days late."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conveyor.config.load import load

CONVEYOR = Path(sys.executable).with_name("conveyor")
TOML = """
[project]
name = "turn"

[data.rows]
watch = "incoming/*.parquet"
time = "at"
key = "id"
label = { column = "y", delay = "2d" }

[step.features]
run = "turn.model:build"
inputs = ["data.rows"]

[model.turning]
train = "turn.model:train"
inputs = ["step.features"]
features = ["a", "b"]
window = "14d"
holdout = "3d"
metric = "roc_auc"

[model.turning.gates]
roc_auc = { min = 0.7, versus_live = "not_shown_worse", margin = 0.05 }  # our bar
latency_p99_ms = { max = 50 }

[model.turning.monitor]
rows = 400
"""
MODULE = """
import polars as pl
from sklearn.linear_model import LogisticRegression

def build(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns((pl.col("a") * 2).alias("a"))

def train(features: pl.DataFrame, seed: int) -> LogisticRegression:
    return LogisticRegression().fit(features.select("a", "b").to_numpy(), features["y"].to_numpy())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    hours = np.repeat(np.arange(70 * 24), 4)
    a, b = random.normal(size=len(hours)), random.normal(size=len(hours))
    turned = np.where(hours < 35 * 24, 1.0, -1.0)  # what a means turns round
    y = (turned * a + 0.5 * b + random.normal(0, 0.5, len(hours)) > 0).astype(np.int8)
    at = np.datetime64("2018-04-01", "us") + hours * np.timedelta64(1, "h")
    (tmp_path / "incoming").mkdir()
    frame = pl.DataFrame({"at": at, "id": np.arange(len(hours)), "a": a, "b": b, "y": y})
    frame.write_parquet(tmp_path / "incoming" / "all.parquet")
    (tmp_path / "conveyor.toml").write_text(TOML)
    (tmp_path / "turn").mkdir()
    (tmp_path / "turn" / "model.py").write_text(MODULE)
    (tmp_path / "turn" / "__init__.py").touch()
    return tmp_path


def replay(folder: Path, *words: str, ok: bool = True) -> str:
    done = subprocess.run(
        [str(CONVEYOR), "replay", "turning", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout if ok else done.stderr


def test_policies_over_a_turning_world(folder: Path) -> None:
    words = ("--policy", "never", "--policy", "every:7d", "--policy", "decay", "--jobs", "1")
    found = json.loads(replay(folder, *words, "--json", "--html", "page.html"))
    walks = {walk["policy"]["name"]: walk for walk in found["walks"]}
    never, weekly, decay = (walks[name] for name in ("never", "every:7d", "decay"))
    last = [walk["blocks"][-1]["metrics"]["roc_auc"] for walk in (never, weekly, decay)]
    assert len(never["candidates"]) == 1
    assert last[0] < 0.3  # it learned the opposite
    assert last[1] > 0.8
    assert last[2] > 0.8
    assert decay["signals"]["decay"] >= 1
    assert len(decay["candidates"]) < len(weekly["candidates"])
    assert found["recommendation"]["policy"] in ("every:7d", "decay")
    assert found["left_out"] == ["latency_p99_ms"]
    for walk in walks.values():
        for candidate in walk["candidates"]:
            assert candidate["known_until"] < candidate["at"]  # no label before it came
    starts = [{c["known_until"] for c in walk["candidates"]} for walk in walks.values()]
    assert found["distinct"] == len(set.union(*starts)) < sum(map(len, starts))  # what they share is trained once
    assert (folder / "page.html").read_text().count("<svg") == 2

    again = replay(folder, *words, "--set")
    assert f"{found['distinct']} of them found from before" in again
    assert "recommended: " in again
    config = load((folder / "conveyor.toml").read_text())
    assert config.models["turning"].retrain.on in (("data", "code"), ("decay", "code"))
    assert "# our bar" in (folder / "conveyor.toml").read_text()


def test_a_step_that_knows_the_future_is_refused(folder: Path) -> None:
    module = folder / "turn" / "model.py"
    module.write_text(MODULE.replace('(pl.col("a") * 2)', '(pl.col("a") - pl.col("y").mean())'))
    said = replay(folder, "--policy", "never", ok=False)
    assert "give another a in" in said
    assert "known at its time" in said
