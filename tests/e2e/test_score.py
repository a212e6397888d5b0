"""`conveyor score` against a running loop: the same numbers as the model server's, and only what is new is scored."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import conveyor
from conveyor.domain.lineage import Kind
from conveyor.domain.run import StepState

from .system import DATASET, MODEL, NAME, System, rows

FEATURES = ["amount", "hour"]


def served(system: System, frame: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The scores that the live model's server gives through the proxy."""
    tensor = {
        "name": "input",
        "datatype": "FP64",
        "shape": [frame.height, 2],
        "data": frame.select(FEATURES).to_numpy().ravel().tolist(),
    }
    asked = {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
    url = f"http://127.0.0.1:{system.settings.public_port}/v2/models/{MODEL}/infer"
    request = urllib.request.Request(url, json.dumps(asked).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)["outputs"][0]
    return np.array(found["data"]).reshape(found["shape"])[:, 1]


def test_a_dataset_is_scored_as_the_server_would(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).parent / "conveyor"), *words]
        done = subprocess.run(command, cwd=system.root, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    live = system.wait(system.models, "a live model")[MODEL]
    newest = system.client.dataset_versions(NAME, DATASET, 1)[0]
    what = f"{DATASET}@v{newest.version}"
    assert "would score" in run("score", MODEL, what, "-o", "all", "--dry-run")
    told = run("score", f"{MODEL}@{live}", what, "-o", "all", "--keep", "fraud")
    assert f"scores/all@v1: {newest.rows:,} rows" in told

    monkeypatch.chdir(system.root)
    made = conveyor.dataset("scores/all").scan().collect()
    assert sorted(made.columns) == ["at", "fraud", "id", "model", "refused", "score"]
    assert made["model"].unique().to_list() == [f"{MODEL}@{live}"]
    day = rows(1)
    mine = day.join(made, on="id", how="inner", maintain_order="left")
    assert np.abs(mine["score"].to_numpy() - served(system, day)).max() < 1e-6  # a batch may differ in the last bits

    # A later scoring takes what was scored from where it is kept.
    again = json.loads(run("score", f"{MODEL}@{live}", what, "-o", "all", "--keep", "fraud", "--json"))
    assert {step["state"] for step in again["steps"]} == {StepState.CACHED}
    assert again["result"]["version"] == 2
    window = json.loads(run("score", f"{MODEL}@{live}", what, "-o", "last", "--window", "1d", "--json"))
    assert 0 < window["result"]["rows"] < newest.rows

    names = {node.name for node in system.client.lineage(NAME, "scores/all@1").nodes}
    assert {f"{NAME}/{DATASET}@{newest.version}", f"{NAME}/{MODEL}@{live}"} <= names
    below = system.client.lineage(NAME, f"{DATASET}@{newest.version}").of(Kind.DATA)
    assert f"{NAME}/scores/all@1" in {node.name for node in below}

    rows(9).write_parquet(system.root / "x.parquet")
    assert "scores/all takes no rows" in run("data", "add", "scores/all", str(system.root / "x.parquet"), code=1)
    assert "has no amount, hour" in run("score", MODEL, "scores/all", "-o", "twice", code=1)
    assert "'soon' is no duration" in run("score", MODEL, what, "--window", "soon", code=1)
    assert "is not the name of a dataset" in run("score", MODEL, what, "-o", "A B", code=1)
    assert "nope has no version or alias" in run("score", "nope", what, code=1)
