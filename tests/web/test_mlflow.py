"""An unmodified MLflow client against Conveyor and against MLflow's own server: the same answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conveyor.client import Client
from conveyor.domain import requests
from conveyor.effects.envs import COMPLETE
from conveyor.errors import Forbidden, NotFound

from .world import TOKEN

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench" / "mlflow"
STORY = Path(__file__).with_name("mlflow_story.py")
DIFFERENT = {
    "rename to one that is": "error RESOURCE_ALREADY_EXISTS",  # MLflow lets its database's own words through
    "logged model": None,  # MLflow's server adds the versions to a tag, twice
    "versions": None,  # MLflow's search leaves out the aliases
}
"""Where Conveyor answers otherwise, and why."""


@pytest.fixture(scope="session")
def mlflow_python() -> Path:
    """An environment with mlflow, shared with the benchmarks; made once, which takes a minute."""
    python = HOME / "bin" / "python"
    probe = [str(python), "-c", "import importlib.metadata as m; m.version('mlflow'), m.version('skops')"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    made = subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(HOME)], capture_output=True)
    install = [uv, "pip", "install", "-q", "--python", str(python), "mlflow>=3.1,<4", "skops", "scikit-learn"]
    if made.returncode or subprocess.run(install, capture_output=True, timeout=280).returncode:
        pytest.skip("mlflow cannot be installed here")
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], port: int, cwd: Path) -> Iterator[None]:
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def ours(folder: Path, port: int, kind: str = "empty") -> list[str]:
    return [sys.executable, "-m", "web.tracking_server", str(folder / ".conveyor"), str(port), kind]


def theirs(python: Path, folder: Path, port: int) -> list[str]:
    command = [str(python.with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", f"{folder}/a"]


def client_of(python: Path, folder: Path, port: int, *argv: str) -> subprocess.Popen[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    env |= {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_TRACKING_TOKEN": TOKEN}
    env |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1"}
    return subprocess.Popen([str(python), *argv], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(process: subprocess.Popen[bytes]) -> str:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out.decode()[-3000:]
    return out.decode()


@pytest.mark.timeout(600)
def test_the_client_is_answered_as_by_its_own_server(mlflow_python: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir()
    ports = [free_port(), free_port()]
    with (
        server(theirs(mlflow_python, folders[1], ports[1]), ports[1], folders[1]),
        server(ours(folders[0], ports[0]), ports[0], ROOT / "tests"),
    ):
        told = [folder / "told.json" for folder in folders]
        clients = [
            client_of(mlflow_python, folder, port, str(STORY), str(out))
            for folder, port, out in zip(folders, ports, told, strict=True)
        ]
        for process in clients:
            finished(process)
        here, there = (json.loads(path.read_text()) for path in told)
        assert [name for name, _ in here] == [name for name, _ in there]
        assert len(here) >= 90
        apart: dict[str, Any] = {}
        for (name, mine), (_, other) in zip(here, there, strict=True):
            if mine != other:
                apart[name] = (mine, other)
        assert set(apart) <= set(DIFFERENT), {name: apart[name] for name in apart if name not in DIFFERENT}
        assert apart["rename to one that is"][0] == DIFFERENT["rename to one that is"]


MORE = """
import sys, time
import mlflow, numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
version = MlflowClient().get_model_version_by_alias("fraud", "live")
print("LIVE", version.version, version.status)
try:
    MlflowClient().set_registered_model_alias("fraud", "live", "4")
except Exception as error:
    print("UNMOVED", error)
model = LogisticRegression().fit(np.arange(8).reshape(-1, 2), [0, 0, 1, 1])
how = {"serialization_format": "pickle", "pip_requirements": ["scikit-learn"], "input_example": np.eye(2)}
with mlflow.start_run():
    for attempt in range(100):
        try:
            info = mlflow.sklearn.log_model(model, name="p", **how)
            break
        except Exception as error:
            print("REFUSED", error, flush=True)
            time.sleep(0.5)
print("TAKEN", mlflow.sklearn.load_model(info.model_uri).predict([[6, 7]])[0])
client = MlflowClient()
client.create_registered_model("kept")
client.create_model_version("kept", info.model_uri, info.run_id)
client.set_registered_model_alias("kept", "best", "1")
for what, delete in (
    ("run", lambda: client.delete_run(info.run_id)),
    ("experiment", lambda: client.delete_experiment("0")),
    ("logged model", lambda: client.delete_logged_model(info.model_id)),
):
    try:
        delete()
    except Exception as error:
        print("KEPT", what, error)
print("STILL", mlflow.sklearn.load_model("models:/kept@best").predict([[6, 7]])[0])
client.delete_registered_model_alias("kept", "best")
client.delete_run(info.run_id)
client.restore_run(info.run_id)
"""


def test_a_pickle_is_refused_until_it_is_trusted_and_trained_models_are_read(
    mlflow_python: Path, tmp_path: Path
) -> None:
    port = free_port()
    script = tmp_path / "more.py"
    script.write_text(MORE)
    with server(ours(tmp_path, port, "full"), port, ROOT / "tests"):
        running = client_of(mlflow_python, tmp_path, port, str(script))
        assert running.stdout is not None
        said = ""
        while "REFUSED" not in said:
            line = running.stdout.readline().decode()
            assert line, said
            said += line
        assert "is a pickle" in said
        assert "LIVE" in said
        assert "cannot be promoted" in said.partition("UNMOVED")[2]
        client = Client(f"http://127.0.0.1:{port}", TOKEN)
        digest = said.partition("conveyor model trust ")[2][:64]
        client.trust(requests.TrustFile(digest, "made by this test"))
        said = finished(running)
        assert "TAKEN 1" in said
        assert said.count("needed by kept@best (version 1)") == 3 == said.count("KEPT")
        assert "STILL 1" in said
        _environment(tmp_path / ".conveyor")
        tried = client.try_pickle(requests.TryPickle("shop", "kept", "1"))
        assert (tried.problem, tried.loaded.rows, tried.loaded.form) == ("", 2, "onnx")
        with pytest.raises(NotFound, match="no MLflow client registered version 9 of kept"):
            client.try_pickle(requests.TryPickle("shop", "kept", "9"))
        found = client.tracked(requests.TrackSearch("Default", "status = 'FINISHED'"))
        assert [run.info.status for run in found] == ["FINISHED"]
        reader = Client(f"http://127.0.0.1:{port}", client.create_token(requests.CreateToken("reader")).token)
        assert reader.tracked_run(found[0].info.run_id).info.run_id == found[0].info.run_id
        with pytest.raises(Forbidden):
            reader.trust(requests.TrustFile(digest, "no"))
        with pytest.raises(Forbidden):
            reader.try_pickle(requests.TryPickle("shop", "kept", "1"))


def _environment(home: Path) -> None:
    """That of the world's build, which is this one."""
    env = home / "envs" / ("e" * 64)
    (env / "bin").mkdir(parents=True)
    python = env / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (env / COMPLETE).touch()
    (home / "builds" / ("c" * 64)).mkdir(parents=True)
