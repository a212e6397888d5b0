"""`conveyor model parity` against a running loop: an honest caller, then one that sends cents for euros."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import polars as pl

from .system import MODEL, NAME, System, rows


def ask(system: System, frame: pl.DataFrame) -> None:
    day = frame.with_columns(pl.col("at").dt.replace_time_zone("UTC").dt.epoch("us"))
    kinds = {"id": "INT64", "at": "INT64", "amount": "FP64", "hour": "FP64"}
    tensors = [
        {"name": name, "datatype": kind, "shape": [day.height], "data": day[name].to_list()}
        for name, kind in kinds.items()
    ]
    url = f"{system.settings.public_url}/v2/models/{MODEL}/infer"
    body, headers = json.dumps({"inputs": tensors}).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        assert answer.status == 200


def test_what_was_served_is_what_the_data_give(system: System) -> None:
    def run(*words: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).parent / "conveyor"), *words]
        done = subprocess.run(command, cwd=system.root, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def kept(at_least: int) -> bool:
        found = system.client.dataset_versions(NAME, f"predictions/{MODEL}", 1)
        return bool(found) and found[0].rows >= at_least

    system.wait(system.models, "a live model")
    gates = "[model.risk.gates]"
    system.replace("conveyor.toml", gates, f'[model.risk.observations]\ndebounce = "1s"\n\n{gates}')
    system.wait_live(system.push("Keep predictions at once"))
    before = system.client.dataset_versions(NAME, f"predictions/{MODEL}", 1)
    known = before[0].rows if before else 0
    ask(system, rows(2)[:200])
    system.wait(lambda: kept(known + 200), "the predictions")
    told = json.loads(run("model", "parity", MODEL, "--window", "30d", "--json"))
    assert told["found"] >= 200
    assert {name: each["differing"] for name, each in told["features"].items()} == {"amount": 0, "hour": 0}

    ask(system, rows(3)[:100].with_columns(pl.col("amount") * 100))
    system.wait(lambda: kept(known + 300), "the predictions")
    said = run("model", "parity", MODEL, "--window", "30d", code=1)
    assert "amount: 100 of" in said
    assert "hour" not in said
