"""The peers of bench/serving.py: how each is installed, given the same estimator, and asked for the same row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
SAME = tuple(f"{name}=={version(name)}" for name in ("scikit-learn", "numpy", "joblib"))

_SAVE = """
import sys, joblib, mlflow.sklearn
model = joblib.load(sys.argv[1])
mlflow.sklearn.save_model(model, sys.argv[2], serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba")
"""


@dataclass(frozen=True)
class Launch:
    """What starts a peer, and how it is asked."""

    command: list[str]
    ready: str
    path: str
    body: bytes
    env: dict[str, str]
    cwd: Path


@dataclass(frozen=True)
class Peer:
    name: str
    packages: tuple[str, ...]
    launch: Callable[[Path, Path, int, int, list[float]], Launch]  # (bin, scratch, port, workers, row)

    @property
    def home(self) -> Path:
        return ROOT / ".bench" / self.name

    def installed(self) -> None:
        """Into an environment of its own, once. Raises CalledProcessError."""
        if (self.home / ".ready").exists():
            return
        uv = str(Path(sys.executable).parent / "uv")
        python = str(self.home / "bin" / "python")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(self.home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *self.packages], check=True)
        (self.home / ".ready").touch()

    def launched(self, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
        return self.launch(self.home / "bin", scratch, port, workers, row)


def _env(bin_: Path, scratch: Path, workers: int) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(HERE),
        "BENCH_MODEL": str(scratch),
        "BENCH_WORKERS": str(workers),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(scratch / "bentoml"),
    }


def tensor(row: list[float], **more: object) -> bytes:
    found = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return json.dumps({"inputs": [found], **more}).encode()


def _mlflow(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    env, saved = _env(bin_, scratch, workers), scratch / "mlflow"
    if not saved.exists():
        command = [str(bin_ / "python"), "-c", _SAVE, str(scratch / "model.joblib"), str(saved)]
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    serve = [str(bin_ / "mlflow"), "models", "serve", "-m", str(saved), "-p", str(port), "-w", str(workers)]
    columns = [f"f{number}" for number in range(len(row))]
    body = json.dumps({"dataframe_split": {"columns": columns, "data": [row]}}).encode()
    return Launch([*serve, "-h", "127.0.0.1", "--env-manager", "local"], "/ping", "/invocations", body, env, scratch)


def _bentoml(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    serve = [str(bin_ / "bentoml"), "serve", "bento_service:Served", "--host", "127.0.0.1", "-p", str(port)]
    body = json.dumps({"row": row}).encode()
    return Launch([*serve, "--working-dir", str(HERE)], "/readyz", "/predict", body, _env(bin_, scratch, workers), HERE)


def _mlserver(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    folder = scratch / f"mlserver{workers}"
    folder.mkdir(exist_ok=True)
    settings = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "host": "127.0.0.1"}
    settings |= {"parallel_workers": workers if workers > 1 else 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    uri = {"uri": str(scratch / "model.joblib")}
    model = {"name": "model", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": uri}
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(bin_ / "mlserver"), "start", str(folder)]
    body = tensor(row, outputs=[{"name": "predict_proba"}])
    return Launch(
        command, "/v2/models/model/ready", "/v2/models/model/infer", body, _env(bin_, scratch, workers), folder
    )


def _litserve(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    command = [str(bin_ / "python"), str(HERE / "lit_service.py"), str(port)]
    body = json.dumps({"row": row}).encode()
    return Launch(command, "/health", "/predict", body, _env(bin_, scratch, workers), scratch)


def _fastapi(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    command = [str(bin_ / "uvicorn"), "fastapi_service:app", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--no-access-log", "--log-level", "warning"]
    body = json.dumps({"row": row}).encode()
    return Launch(command, "/health", "/predict", body, _env(bin_, scratch, workers), HERE)


def _limit(bin_: Path, scratch: Path, port: int, workers: int, row: list[float]) -> Launch:
    command = [str(bin_ / "granian"), "--interface", "rsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws"]
    command += ["--workers", str(workers), "--log-level", "warning", "limit_service:app"]
    return Launch(command, "/ready", "/infer", tensor(row), _env(bin_, scratch, workers), HERE)


PEERS = (
    Peer("mlflow", ("mlflow", *SAME), _mlflow),
    Peer("bentoml", ("bentoml", *SAME), _bentoml),
    Peer("mlserver", ("mlserver", "mlserver-sklearn", *SAME), _mlserver),
    Peer("litserve", ("litserve", *SAME), _litserve),
    Peer("fastapi", ("fastapi", "uvicorn[standard]", *SAME), _fastapi),
)
LIMIT = Peer("limit", ("granian", "msgspec", "onnxruntime", "numpy"), _limit)
