"""`conveyor run` in a working folder: real commands and functions, real files, no server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conveyor.effects.identity import identity

CONVEYOR = Path(sys.executable).with_name("conveyor")
CONFIG = """
[project]
name = "flow"

[step.raw]
run = "flow:raw"
params = { rows = 6 }

[step.split]
run = "flow:split"
inputs = ["step.raw"]

[step.fit]
run = "flow:fit"
inputs = ["step.split:train"]
metrics = ["fit.json"]

[step.report]
command = "cat fit.json words.txt > out/report.txt; test -n \\"$CONVEYOR_INPUT_TEST\\"; echo told $TONE"
inputs = ["step.split:test"]
deps = ["fit.json", "words.txt"]
outs = ["out/report.txt"]
env = { TONE = "plain" }
"""
FLOW = """
import json
import polars as pl
from helper import FACTOR

def raw(rows):
    return pl.DataFrame({"x": [FACTOR * n for n in range(rows)]})

def split(raw: pl.DataFrame):
    return {"train": raw.head(4), "test": raw.tail(2)}

def fit(train: pl.DataFrame):
    with open("fit.json", "w") as file:
        json.dump({"total": int(train["x"].sum())}, file)
"""


class Place:
    def __init__(self, path: Path, **env: str) -> None:
        self.path = path
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONVEYOR", "VIRTUAL_ENV"))}
        self.env = kept | env
        path.mkdir(parents=True, exist_ok=True)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [CONVEYOR, "run", *words], cwd=self.path, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def verdicts(self, *words: str) -> dict[str, str]:
        return {each["step"]: each["verdict"] for each in json.loads(self.run(*words, "--json"))}


def test_functions_and_commands_run_when_something_changed_and_else_not(tmp_path: Path) -> None:
    place = Place(tmp_path / "a", CONVEYOR_OBJECTS_URL=str(tmp_path / "objects"))
    place.write(conveyor__toml=CONFIG, flow__py=FLOW, helper__py="FACTOR = 1\n", words__txt="first\n")
    said = place.run()
    assert "fit.json: total 6" in said
    assert "report | told plain" in said
    assert "4 steps: 4 ran" in said
    assert (place.path / "out/report.txt").read_text() == '{"total": 6}first\n'
    for _ in range(3):  # the third time by its witness
        assert place.run() == "4 steps: up to date\n"

    place.write(helper__py="FACTOR = 2\n")
    planned = place.run("--dry-run")
    assert "raw     would run  its code changed" in planned
    assert "fit     may run    split runs first; its code changed" in planned
    assert "fit.json: total 12" in place.run("fit", "--quiet")
    assert place.verdicts() == {"raw": "up to date", "split": "up to date", "fit": "up to date", "report": "run"}

    place.write(helper__py="FACTOR = 1\n")
    assert set(place.verdicts().values()) == {"cached"}
    (place.path / "fit.json").write_text("{}")
    assert place.verdicts()["fit"] == "cached"
    assert place.verdicts("--param", "rows=5")["raw"] == "run"
    assert place.verdicts() == {"raw": "cached", "split": "cached", "fit": "up to date", "report": "cached"}

    # Another folder with the same objects makes nothing anew.
    other = Place(tmp_path / "b", CONVEYOR_OBJECTS_URL=str(tmp_path / "objects"))
    other.write(conveyor__toml=CONFIG, flow__py=FLOW, helper__py="FACTOR = 1\n", words__txt="first\n")
    assert set(other.verdicts().values()) == {"cached"}
    assert (other.path / "out/report.txt").read_text() == '{"total": 6}first\n'


def test_a_dvc_project_runs_as_it_is(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "sub").mkdir()
    place.write(
        params__yaml="top: 2\nnames: [x, y]\n",
        words__txt="a\nb\nc\n",
        dvc__yaml="""
stages:
  head:
    cmd: head -n ${top} ../words.txt > head.txt
    wdir: sub
    deps: [../words.txt]
    outs: [head.txt]
  each:
    foreach: ${names}
    do:
      cmd: mkdir -p out/${item}; cp sub/head.txt out/${item}/; chmod +x out/${item}/head.txt
      deps: [sub/head.txt]
      outs: ["out/${item}"]
  count:
    cmd: 'echo "{\\"lines\\": $(cat out/*/head.txt | wc -l)}" > count.json'
    deps: [out]
    metrics: [count.json: {cache: false}]
""",
    )
    assert "count.json: lines 4" in place.run()
    assert place.run() == "4 steps: up to date\n"
    place.write(params__yaml="top: 3\nnames: [x, y]\n")
    assert "head    would run  its command changed" in place.run("--dry-run")
    assert "count.json: lines 6" in place.run()
    place.write(params__yaml="top: 2\nnames: [x, y]\n")
    # Metrics that are not cached are made again; a folder comes back as it was.
    assert place.verdicts() == {"head": "cached", "each@x": "cached", "each@y": "cached", "count": "run"}
    assert os.access(tmp_path / "out/x/head.txt", os.X_OK)
    assert place.verdicts("each") == {"head": "up to date", "each@x": "up to date", "each@y": "up to date"}


def test_failures_retries_timeouts_and_what_is_wrong(tmp_path: Path) -> None:
    place = Place(tmp_path)
    text = """
    [project]
    name = "bad"
    [step.again]
    command = "test -e tried || { touch tried; exit 3; }"
    deps = []
    outs = []
    retries = 1
    needs = []
    [step.slow]
    command = "sleep 60 & sleep 60"
    timeout = "0.5s"
    deps = ["conveyor.toml"]
    needs = ["again"]
    [step.after]
    command = "touch after"
    needs = ["slow"]
    [step.empty]
    command = "true"
    outs = ["nothing.txt"]
    [step.wrong]
    run = "missing:function"
    """
    place.write(conveyor__toml=text)
    said = place.run("after", code=1)
    assert "again: ran" in said
    assert "timed out after 0.5 s" in said
    assert "1 ran, 1 failed, 1 not begun" in said
    assert not (tmp_path / "after").exists()
    assert "did not make nothing.txt" in place.run("empty", code=1)
    assert "no module named missing" in place.run("wrong", code=1)
    assert "there is no step 'nope'" in place.run("nope", code=1)
    assert "no conveyor.toml or dvc.yaml" in Place(tmp_path.parent / "bare").run(code=1)


def test_small_steps_share_a_process_and_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Each step asserts that it finds the world as the first one did, then leaves it otherwise."""
    place = Place(tmp_path)
    (tmp_path / "sub").mkdir()
    place.write(
        flow__py="""
import json, logging, os, subprocess, sys, threading, time
HERE = os.getcwd()
seen = []
def step(number, how):
    assert os.getcwd() == HERE and "LEFT" not in os.environ and "nowhere" not in sys.path and not seen
    assert threading.active_count() == 1 and not logging.root.handlers and sys.stdout is sys.__stdout__
    print("told by", number)
    print(os.getpid(), file=open(f"pid.{number}", "w"))
    seen.append(number)
    os.environ["LEFT"] = "x"
    sys.path.insert(0, "nowhere")
    os.chdir("sub")
    if how == "thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if how == "child":
        subprocess.Popen(["sleep", "60"])
    if how == "stream":
        sys.stdout = open(os.devnull, "w")
    if how == "logging":
        logging.basicConfig()
    if how == "polars":
        import polars as pl
        return pl.DataFrame({"n": [number]})
    if how == "die":
        os.kill(os.getpid(), 9)
    if how == "hang":
        time.sleep(60)
""",
        conveyor__toml='[project]\nname = "small"\n'
        + "".join(
            f'[step.s{n}]\nrun = "flow:step"\ncpus = 64\nparams = {{ number = {n}, how = "{how}" }}\n'
            for n, how in enumerate(("", "", "thread", "", "child", "stream", "logging", "polars", "", ""))
        ),
    )
    said = place.run()
    assert "10 steps: 10 ran" in said
    assert all(f"s{n} | told by {n}\n" in said for n in range(10))
    pids = [(tmp_path / f"pid.{n}").read_text() for n in range(10)]
    assert pids[0] == pids[1] == pids[2]
    assert len({pids[n] for n in (2, 3, 5, 6, 7, 8)}) == 6, "one who left something behind does no other step"
    assert pids[3] == pids[4]
    assert pids[8] == pids[9]
    for how, why in (("die", "exit code 137"), ("hang", "timed out after 0.4 s")):
        text = f'[project]\nname = "small"\n[step.bad]\nrun = "flow:step"\nparams = {{ number = 1, how = "{how}" }}\n'
        place.write(conveyor__toml=f'{text}timeout = "0.4s"\n')
        assert why in place.run(code=1)


def test_ctrl_c_ends_commands_and_functions_at_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write(
        flow__py="import time\n\ndef nap():\n    open('napping', 'w').close()\n    time.sleep(60)\n",
        conveyor__toml="""
        [project]
        name = "slow"
        [step.nap]
        run = "flow:nap"
        [step.sleep]
        command = "touch sleeping; exec sleep 60"
        """,
    )
    run = subprocess.Popen([CONVEYOR, "run"], cwd=tmp_path, env=place.env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() for name in ("napping", "sleeping")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) == 130


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found again by /proc")
def test_a_run_that_was_killed_leaves_nothing_running_and_is_carried_on(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write(
        dvc__yaml="""
stages:
  one: {cmd: "echo 1 > one.txt", outs: [one.txt]}
  two: {cmd: "echo $$ > pid; test -e go || sleep 60; cp one.txt two.txt", deps: [one.txt], outs: [two.txt]}
"""
    )
    run = subprocess.Popen([CONVEYOR, "run"], cwd=tmp_path, env=place.env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    left = int((tmp_path / "pid").read_text())
    os.kill(left, 0)  # it outlived the run
    (tmp_path / "go").touch()
    said = place.run()
    assert "ended 1 process groups of a run that was killed" in said
    assert "2 steps: 1 up to date, 1 ran" in said
    assert identity(left) is None
