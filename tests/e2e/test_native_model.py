"""A model of no framework at all: trained, verified, rolled out and served in its project's environment."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from .system import MODEL, System, rows

pytestmark = pytest.mark.timeout(240)

_RULE = '''
from __future__ import annotations

import numpy as np
import polars as pl


class Rule:
    """Of rows that are as large and as late: the share of frauds, by counting."""

    def __init__(self, amounts: np.ndarray, shares: np.ndarray) -> None:
        self.amounts, self.shares, self.classes_ = amounts, shares, [0, 1]

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        night = (rows[:, 1] < 6).astype(int)
        found = self.shares[night, np.searchsorted(self.amounts, rows[:, 0])]
        return np.column_stack([1 - found, found])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.predict_proba(rows)[:, 1] > 0.5


def train(payments: pl.DataFrame, columns: list[str]) -> Rule:
    amount, hour = (payments[name].to_numpy() for name in columns)
    fraud, amounts = payments["fraud"].to_numpy(), np.quantile(amount, [0.25, 0.5, 0.75])
    place, shares = np.searchsorted(amounts, amount), np.zeros((2, 4))
    for night in (0, 1):
        for at in range(4):
            there = ((hour < 6) == night) & (place == at)
            shares[night, at] = (fraud[there].sum() + 1) / (there.sum() + 2)
    return Rule(amounts, shares)
'''


_CRASHES = """
    def __setstate__(self, state):
        import os, sys
        if "conveyor/serving" in sys.argv[0]:
            os.kill(os.getpid(), 11)
        self.__dict__.update(state)
"""


def _asked(system: System) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
    tensor = {"name": "input", "datatype": "FP32", "shape": [2, 2], "data": [5.0, 12.0, 300.0, 2.0]}
    connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps({"id": "one", "inputs": [tensor]}))
    said = json.loads(connection.getresponse().read())
    connection.close()
    return said


def test_a_python_object_goes_live_and_one_that_crashes_does_not(tmp_path: Path) -> None:
    system = System(tmp_path)
    try:
        system.start()
        system.write("risk/model.py", _RULE)
        system.replace("conveyor.toml", 'metric = "roc_auc"', 'metric = "roc_auc"\ntrusted = ["risk.model.Rule"]')
        system.write("requirements.txt", (system.source / "requirements.txt").read_text() + "skops==0.16.0\n")
        commit = system.push("A rule of our own")
        for day in range(3):
            system.land(rows(day), f"day-{day}.parquet")
        system.wait_live(commit, 180)
        said = _asked(system)
        (output,) = said["outputs"]
        assert (output["name"], output["shape"]) == ("probabilities", [2, 2])
        assert output["data"][1] < output["data"][3]
        (instance,) = (tmp_path / ".conveyor" / "models" / "tiny" / MODEL).glob("*/model.skops")
        assert instance.is_file()
        served = [
            words
            for pid in system._ours()
            if "conveyor.serving" in (words := Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0"))
        ]
        assert served
        assert all("/envs/" in words[0] and "risk.model.Rule" in words for words in served)

        # It trains and is evaluated, and ends whatever loads it as a server does: the run says so, what is live stays.
        after = system.newest()
        system.write("risk/model.py", _RULE.replace("class Rule:", f"class Rule:\n{_CRASHES}"))
        system.push("A rule that ends its server")
        failed = system.event(after, "run.failed", seconds=120, kind="train")
        assert "it crashed while it loaded or scored (SIGSEGV)" in failed.data["error"]
        # The push's own release starts a server on version 1 with this code, which is not given traffic.
        system.event(after, "process.died", cause="terminated by SIGSEGV")
        now = system.environment()
        assert now is not None
        assert now.live is not None
        assert (now.live.commit, now.live.models) == (commit, {MODEL: 1})
        assert {e.data["percent"] for e in system.events(after, "rollout.advanced")} == {0}
        assert _asked(system) == said
    finally:
        system.stop()
