"""`conveyor model parity` against a running loop: an honest caller, then one that sends cents for euros."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import polars as pl

from conveyor.domain import wire
from conveyor.domain.parity import ParityReport

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
    def parity() -> tuple[int, ParityReport, str]:
        """Of all predictions there are, other tests asked as well: exit code, report, and what people are told."""
        command = [str(Path(sys.executable).parent / "conveyor"), "model", "parity", MODEL, "--window", "36500d"]
        done = subprocess.run([*command, "--json"], cwd=system.root, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        said = subprocess.run(command, cwd=system.root, capture_output=True, text=True, check=False)
        return done.returncode, wire.from_json(done.stdout.encode(), ParityReport), said.stdout

    def rows_kept() -> int:
        found = system.client.dataset_versions(NAME, f"predictions/{MODEL}", 1)
        return found[0].rows if found else 0

    system.wait(system.models, "a live model")
    gates = "[model.risk.gates]"
    system.replace("conveyor.toml", gates, f'[model.risk.observations]\ndebounce = "1s"\n\n{gates}')
    system.wait_live(system.push("Keep predictions at once"))
    ask(system, rows(2)[:1])
    system.wait(rows_kept, "the first prediction")
    time.sleep(3)  # what waited before is kept as well
    _, before, _ = parity()

    known = rows_kept()
    ask(system, rows(2)[:200])
    system.wait(lambda: rows_kept() >= known + 200, "the predictions")
    code, honest, _ = parity()
    assert honest.found == before.found + 200
    for name, each in honest.features.items():
        assert each.differing == before.features[name].differing
    assert code == bool(honest.differing)

    ask(system, rows(3)[:100].with_columns(pl.col("amount") * 100))
    system.wait(lambda: rows_kept() >= known + 300, "the predictions")
    code, cents, said = parity()
    assert cents.features["amount"].differing == honest.features["amount"].differing + 100
    assert cents.features["hour"].differing == honest.features["hour"].differing
    assert (code, "amount:" in said) == (1, True)
