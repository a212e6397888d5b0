"""Two sweeps and three trainings at once, and the control plane killed in between: all end, none is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from e2e.system import NAME, System, rows

from conveyor.domain.run import RunState
from conveyor.domain.sweep import OPEN, SweepState, TrialState

MODELS = ("one", "two", "three")
MODEL = """
[model.{name}]
train = "risk.swept:train"
inputs = ["step.kept"]
features = ["amount", "hour"]
metric = "roc_auc"
params = {{ c = 1.0, of = "{name}" }}
holdout = "1d"
[model.{name}.retrain]
on = ["code"]
[model.{name}.rollout]
steps = [100]
hold = "0.1s"
watch = "0.1s"
drain = "0.1s"
"""
STEPS = """
[step.words]
command = "mkdir -p made && cat words.txt words.txt > made/words.txt && echo {name} > made/more"
deps = ["words.txt"]
outs = ["made/words.txt", "made/more"]
[step.kept]
run = "risk.swept:kept"
inputs = ["data.payments"]
deps = ["made"]
"""
SWEEP = """
[sweep.{name}]
model = "{name}"
space = {{ c = {{ min = 0.01, max = 10.0, log = true }} }}
trials = 3
pruner = "median"
"""
TRAIN = """
import json, os, time
from pathlib import Path
from sklearn.linear_model import LogisticRegression
import polars as pl

TRACE = Path(__file__).parents[1].joinpath("trace_path.txt").read_text().strip()


def say(**what):
    with open(TRACE, "a") as file:
        file.write(json.dumps(what | {"at": time.time(), "pid": os.getpid()}) + "\\n")


def kept(payments: pl.DataFrame):
    assert Path("made/words.txt").read_text() == "word\\nword\\n", "files of steps before lie at their paths"
    return payments


def train(kept: pl.DataFrame, c: float, of: str, run):
    say(what="start", of=of, c=c)
    time.sleep(0.5)
    for step in range(3):
        run.report(step, 0.5 + step / 10)
    table = kept.select("amount", "hour").cast(pl.Float32).to_numpy()
    fitted = LogisticRegression(C=c).fit(table, kept["fraud"].to_numpy())
    say(what="end", of=of, c=c)
    return fitted
"""


def _control(system: System) -> int:
    found = system.wait(lambda: [p.pid for p in system.client.status().processes if p.name == "control"], "control")
    pid: int = found[0]
    return pid


@pytest.mark.timeout(300)
def test_sweeps_and_trainings_survive_the_control_plane(tmp_path: Path) -> None:
    system, chance = System(tmp_path), random.Random(20261124)
    try:
        system.start()
        config = (system.source / "conveyor.toml").read_text()
        config = config[: config.index("[model.risk]")]
        config += STEPS + "".join(MODEL.format(name=name) for name in MODELS)
        config += "".join(SWEEP.format(name=name) for name in MODELS[:2])
        system.write("conveyor.toml", config)
        system.write("risk/swept.py", TRAIN)
        system.write("words.txt", "word\n")
        system.push("Three models, two sweeps")
        system.land(pl.concat([rows(day) for day in range(6)]), "days.parquet")
        client = system.client
        system.wait(lambda: [each for each in client.status().datasets if each.newest], "rows", 180)
        system.wait(lambda: client.runs(kind="train"), "a training", 60)
        for name in MODELS[:2]:
            client.start_sweep(NAME, name)
        for _ in range(2):
            system.wait(lambda: [run for run in client.status().runs if run.kind == "trial"], "a trial", 60)
            pid = _control(system)
            system.wait(lambda: chance.random() < 0.1, "a moment at random")
            os.kill(pid, signal.SIGKILL)
            system.wait(lambda gone=pid: _control(system) != gone, "the next control plane", 60)
        system.wait(lambda: not [each for each in client.sweeps(NAME) if each.state in OPEN], "the sweeps", 180)
        system.wait(lambda: all(client.model_versions(NAME, name) for name in MODELS), "three trainings", 60)
        system.wait(lambda: not [r for r in client.status().runs if r.kind in ("train", "trial")], "rest", 60)
        _check(system)
    finally:
        system.stop()


def _check(system: System) -> None:
    client = system.client
    runs = {run.id: run for run in client.runs(limit=1000)}
    assert {run.state for run in runs.values() if run.kind in ("train", "trial")} == {RunState.SUCCEEDED}
    for sweep in client.sweeps(NAME):
        assert (sweep.state, len(sweep.trials)) == (SweepState.SUCCEEDED, 3), sweep.error
        assert {trial.state for trial in sweep.trials} == {TrialState.SUCCEEDED}
        assert len({trial.params["c"] for trial in sweep.trials}) == 3
        assert sweep.best is not None
        made = next(v for v in client.model_versions(NAME, sweep.config.model) if v.version == sweep.version)
        assert (made.sweep, made.params["c"]) == (sweep.id, sweep.best.params["c"])
    trials = [run for run in runs.values() if run.kind == "trial"]
    assert len(trials) == 6  # none is lost, none is begun twice
    # A start without an end was killed with its process; none of one training overlaps another of the same.
    spans: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    begun: dict[int, tuple[str, float, float]] = {}
    for line in system.trace.read_text().splitlines():
        told = json.loads(line)
        if told["what"] == "start":
            begun[told["pid"]] = (told["of"], told["c"], told["at"])
        else:
            of, c, at = begun.pop(told["pid"])
            spans[of, c].append((at, told["at"]))
    assert not begun
    assert sum(len(found) for found in spans.values()) == 3 + 6 + 2
    assert all(end <= start for found in spans.values() for (_, end), (start, _) in pairwise(sorted(found)))
