"""A pickle runs only once it is trusted, only in a process that is not the control plane's, and only for so long."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from sklearn.linear_model import LogisticRegression

from conveyor.delivery.kept import trust
from conveyor.delivery.pickle_trials import PickleTrials
from conveyor.domain.pickle_trial import PickleTrial
from conveyor.domain.requests import TryPickle
from conveyor.effects.envs import COMPLETE
from conveyor.errors import InputRejected, NotFound, Refused
from conveyor.serving.check import Limits

from .conftest import Plane

ASKED = TryPickle("shop", "clf", "1")
ROWS = np.arange(8.0).reshape(-1, 2)


class Runs:
    """What is carried out by whoever loads it."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (self.code,)


def logged(example: Any = None, pickled: str = "model.pkl") -> dict[str, bytes]:
    """What MLflow's client writes beside a pickle."""
    about = f"flavors:\n  sklearn:\n    pickled_model: {pickled}\n    serialization_format: pickle\n"
    if example is None:
        return {"MLmodel": about.encode()}
    about += "saved_input_example_info:\n  artifact_path: input_example.json\n"
    return {"MLmodel": about.encode(), "input_example.json": json.dumps(example).encode()}


class Desk:
    """Trials in a project whose environment is this one."""

    def __init__(self, plane: Plane) -> None:
        self.context = plane.context()
        build = plane.build("")
        env = self.context.settings.envs / build.environment
        (env / "bin").mkdir(parents=True)
        python = env / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (env / COMPLETE).touch()
        (self.context.settings.builds / build.tree).mkdir(parents=True)
        self.trials = PickleTrials(self.context)

    def keep(self, files: Mapping[str, bytes]) -> dict[str, str]:
        return {path: self.context.objects.put(raw) for path, raw in files.items()}

    def run(self, model: object, example: Any = None, limits: Limits | None = None) -> PickleTrial:
        """Of a pickle that is trusted."""
        files = self.keep(logged(example) | {"model.pkl": pickle.dumps(model)})
        trust(self.context, files["model.pkl"], "ada", "a test")
        return self.trials.run(ASKED, files, limits)


@pytest.fixture
def desk(plane: Plane) -> Desk:
    return Desk(plane)


def gone(pid: int) -> bool:
    """Also what it started needs a moment to be reaped by whom it was left to."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_runs_once_trusted_in_a_process_that_has_ended(desk: Desk, plane: Plane, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hostile = Runs(f"import os\nwith open({str(ran)!r}, 'a') as file:\n    print(os.getpid(), file=file)")
    files = desk.keep(logged() | {"model.pkl": pickle.dumps(hostile)})
    with pytest.raises(Refused, match="nobody trusts") as refused:
        desk.trials.run(ASKED, files)
    assert files["model.pkl"] in refused.value.hint
    assert not ran.exists()
    trust(desk.context, files["model.pkl"], "ada", "a test")
    done = desk.trials.run(ASKED, files)
    assert done.problem == "it holds a builtins.NoneType, which has no `predict`"
    (pid,) = map(int, ran.read_text().split())
    assert pid == done.pid != os.getpid()
    assert gone(pid)
    (event,) = plane.events("model.pickle_tried")
    assert (event.data["pid"], event.data["reason"]) == (pid, done.problem)
    # What MLmodel names is held against the trusted digests too: another file is not loaded in its place.
    swapped = files | desk.keep(logged(pickled="other.bin") | {"other.bin": b"\x80" + pickle.dumps(hostile)[1:-1]})
    with pytest.raises(Refused):
        desk.trials.run(ASKED, swapped)
    unseen = files | desk.keep(logged(pickled="other.bin") | {"other.bin": b"no pickle"})
    assert "is not among those that an admin trusts" in desk.trials.run(ASKED, unseen).problem
    absent = files | desk.keep(logged(pickled="../../../etc/hostname"))
    assert "there is no file '../../../etc/hostname' in it" in desk.trials.run(ASKED, absent).problem
    assert len(ran.read_text().split()) == 1
    with pytest.raises(InputRejected, match="holds no pickle"):
        desk.trials.run(ASKED, desk.keep(logged()))
    with pytest.raises(NotFound, match="no build"):
        desk.trials.run(replace(ASKED, project="other"), files)
    assert not list(desk.context.settings.work.iterdir())


def test_a_good_one_is_scored_and_told_its_served_form(desk: Desk) -> None:
    model = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
    done = desk.run(model, ROWS.tolist())
    assert done.problem == ""
    assert done.loaded.kind == "sklearn.linear_model._logistic.LogisticRegression"
    assert (done.loaded.rows, done.loaded.scores) == (4, tuple(model.predict(ROWS).astype(float)))
    assert (done.loaded.form, done.loaded.unserved) == ("onnx", "")
    assert done.loaded.parity < 1e-4


@pytest.mark.parametrize(
    ("code", "seconds", "why"),
    [
        ("import time\ntime.sleep(600)", 2, "it did not load and score within 2 s, and was ended"),
        ("held = bytearray(2**40)", 60, "it needs more than 512 MB of memory to load and score"),
        ("import os\nos.kill(os.getpid(), 11)", 60, "it crashed while it loaded or scored (SIGSEGV)"),
        ("import os\nos._exit(0)", 60, "it left no report of what it did"),
        ("raise ValueError('no')", 60, "it cannot be loaded in the project's environment: ValueError: no"),
    ],
)
def test_one_that_hangs_takes_memory_crashes_or_lies_ends_with_a_reason(
    desk: Desk, code: str, seconds: float, why: str
) -> None:
    assert desk.run(Runs(code), limits=Limits(memory_mb=512, seconds=seconds)).problem == why


def test_what_it_leaves_behind_ends_with_it_and_is_not_waited_for(desk: Desk, tmp_path: Path) -> None:
    left = tmp_path / "left"
    code = "import os, subprocess\nleft = subprocess.Popen(['sleep', '600'])\n"
    code += f"with open({str(left)!r}, 'w') as file:\n    file.write(str(left.pid))"
    done = desk.run(Runs(code))
    assert done.seconds < 60
    assert gone(int(left.read_text()))


def test_one_too_large_and_scores_that_are_no_numbers_are_refused(desk: Desk) -> None:
    model = LogisticRegression().fit(ROWS, [0.0, 0.0, 1.0, 1.0])
    model.classes_ = np.array([np.nan, np.nan])
    assert desk.run(model, ROWS.tolist()).problem == "a score of its input example is not a finite number"
    limits = Limits(most_mb=0)
    done = desk.run(model, None, limits)
    assert (done.pid, done.problem) == (0, "its files have 0.0 GB; at most 0 MB are loaded")


def test_it_ends_when_the_control_plane_is_killed(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"import os, time\nwith open({str(ran)!r}, 'w') as file:\n    print(os.getpid(), file=file)\ntime.sleep(600)"
    content = logged() | {"model.pkl": pickle.dumps(Runs(code))}
    for name, raw in content.items():
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "files.json").write_text(json.dumps({name: str(tmp_path / name) for name in content}))
    argv = [sys.executable, "-m", "conveyor.sdk.pickled", "--files", str(tmp_path / "files.json")]
    argv += ["--report", str(tmp_path / "report.json"), "--memory-mb", "512", "--seconds", "60"]
    argv += ["--trusted", blake3(content["model.pkl"]).hexdigest(), "--parent"]
    waits = "import os, sys\nfrom pathlib import Path\nfrom conveyor.serving.check import Limits, Server, confined\n"
    waits += f"confined([*{argv!r}, str(os.getpid())], Server(sys.executable, Path.cwd(), os.environ), Limits())"
    plane = subprocess.Popen([sys.executable, "-c", waits])
    try:
        for _ in range(3000):
            if ran.exists() and ran.read_text().endswith("\n"):
                break
            assert plane.poll() is None
            time.sleep(0.02)
    finally:
        plane.kill()
        plane.wait()
    assert gone(int(ran.read_text()))
