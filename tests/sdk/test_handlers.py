"""One check list for every framework: what it gives is kept in a safe form that scores alike, or it is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from conveyor.domain import wire
from conveyor.domain.evaluation import Evaluation
from conveyor.domain.form import FILES
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import EvaluateSpec, InputSpec, StepError, TrainingReport, TrainSpec
from conveyor.errors import Refused
from conveyor.sdk import evaluate, table, train
from conveyor.sdk.forms.scorer import outputs_of
from conveyor.sdk.forms.skops import load
from conveyor.serving.check import Limits, Server, check
from conveyor.serving.model import load as load_as_served

PROJECT = Path(__file__).parent / "project"
START = datetime(2018, 4, 1)
DAY = timedelta(days=1)
KNOWN = (START + 30 * DAY).replace(tzinfo=UTC)
TRUSTED = ("cards.frameworks.Rule", "cards.frameworks.Mean", "cards.frameworks.Gaps")
METRIC = {"two": "average_precision", "many": "roc_auc", "values": "rmse"}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.syspath_prepend(str(PROJECT))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One set of features with three labels: of two classes, of three that have names, and a value."""
    random = np.random.default_rng(3)
    count = 30 * 48
    a, b, c = random.gamma(2.0, 30.0, count), random.normal(size=count), random.integers(0, 3, count)
    value = a + 20 * b + 10 * c + random.normal(0, 20, count)
    labels = {
        "two": (value > 110).astype(np.int8),
        "many": np.array(["high", "low", "middle"])[np.digitize(value, [40, 110]) - 1],
        "values": value,
    }
    folder = tmp_path_factory.mktemp("data")
    times = [START + timedelta(minutes=30 * n + 30) for n in range(count)]
    for task, y in labels.items():
        pl.DataFrame({"at": times, "id": range(count), "a": a, "b": b, "c": c, "y": y}).write_parquet(folder / task)
    return {task: folder / task for task in labels}


def spec_for(data: dict[str, Path], kind: str, task: str, **changes: Any) -> TrainSpec:
    spec = TrainSpec(
        model="m",
        function="cards.frameworks:train",
        inputs=(InputSpec("rows", (str(data[task]),)),),
        label="y",
        time="at",
        key="id",
        known_until=KNOWN,
        metric=METRIC[task],
        params={"kind": kind, "task": task},
        features=("a", "b", "c"),
        holdout=8 * DAY,
        positive="middle" if task == "many" else "",
        trusted=TRUSTED,
    )
    return replace(spec, **changes)


def trained(spec: TrainSpec, out: Path) -> TrainingReport:
    out.mkdir(exist_ok=True)
    (out / "spec.json").write_bytes(wire.to_json(spec))
    if train.main([str(out / "spec.json"), str(out)]) != 0:
        error = wire.from_json((out / "error.json").read_bytes(), StepError)
        raise AssertionError(f"{error.message} | {error.hint}")
    return wire.from_json((out / "training.json").read_bytes(), TrainingReport)


CASES = [
    *(("scikit", task, "onnx") for task in METRIC),
    *(("lightgbm", task, "onnx") for task in METRIC),
    *(("xgboost", task, "onnx") for task in ("two", "values")),  # it takes no labels that are words
    *((kind, "two", "onnx") for kind in ("lightgbm_booster", "xgboost_booster", "scaled_lightgbm", "scaled_xgboost")),
    *(("onnx_proto", task, "onnx") for task in METRIC),
    ("onnx_path", "two", "onnx"),
    *(("anything", task, "skops") for task in METRIC),
    *(("unknown_to_onnx", task, "skops") for task in METRIC),
    ("dart", "two", "lightgbm"),
    *(("torch_module", task, "onnx") for task in METRIC),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "task", "form"), CASES)
def test_the_form_that_is_kept_scores_as_the_model(
    kind: str, task: str, form: str, data: dict[str, Path], tmp_path: Path
) -> None:
    if kind == "torch_module":
        pytest.importorskip("torch", reason="PyTorch is not installed (it is not among the packages of .[dev])")
    positive = {"positive": "2"} if (kind, task) == ("onnx_proto", "many") else {}
    if positive:  # a graph has no names for its classes
        renamed = tmp_path / "many"
        codes = pl.col("y").replace_strict({"high": 0, "low": 1, "middle": 2}, return_dtype=pl.Int64)
        pl.read_parquet(data["many"]).with_columns(codes).write_parquet(renamed)
        data = {"many": renamed}
    report = trained(spec_for(data, kind, task, **positive), tmp_path)
    assert report.form == form, report.passed_over
    assert bool(report.passed_over) == (form != "onnx" and kind != "anything")
    assert report.parity.max_abs_difference <= report.parity.tolerance
    assert report.features == ("a", "b", "c")
    if task != "values":
        assert report.holdout.positives > 30

    manifest = wire.from_json((tmp_path / "model.json").read_bytes(), ModelManifest)
    assert (tmp_path / FILES[form]).is_file()
    assert manifest.form == form
    assert len(manifest.signature.classes) == {"two": 2, "many": 3, "values": 0}[task]
    served = load_as_served(tmp_path, name="m", version=1, trusted=TRUSTED)  # verifies the example
    holdout = pl.read_parquet(tmp_path / "holdout.parquet")
    rows = table.matrix(holdout, report.features)
    where = manifest.signature.score
    scores = served.scores(served.run(rows))
    native = holdout["__native__"].to_numpy()
    assert (np.abs(scores - native) / np.maximum(1, np.abs(native))).max() <= report.parity.tolerance
    if task == "many":
        every = outputs_of(served, rows, where.output)
        assert every.shape == (len(rows), 3)
        assert every.sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
        assert scores == pytest.approx(every[:, 2])

    spec = EvaluateSpec(METRIC[task], str(tmp_path), str(tmp_path / "holdout.parquet"), str(tmp_path / "training.json"))
    found: Evaluation = evaluate.evaluate(replace(spec, trusted=TRUSTED, latency_calls=20))
    assert found.value == pytest.approx(report.value, rel=1e-3)
    assert found.nonfinite_outputs == 0
    if task != "values":
        assert found.value > 0.6


@pytest.mark.parametrize(
    ("kind", "task", "changes", "says"),
    [
        ("unfitted_lightgbm", "two", {}, "the returned estimator is not fitted"),
        ("unfitted_xgboost", "two", {}, "the returned estimator is not fitted"),
        ("damaged", "two", {}, "the ONNX graph cannot be loaded"),
        ("crashes", "two", {"trusted": ("cards.frameworks.Local",)}, "of form skops cannot be loaded"),
        ("onnx_proto", "two", {"features": ("a", "b")}, "takes 3 features, conveyor.toml names 2"),
        ("onnx_proto", "two", {"features": ()}, "does not know its feature names"),
        ("scikit", "many", {"positive": ""}, "label y is String, not a number"),
        ("scikit", "many", {"positive": "none"}, "all have the same label|knows the classes high, low, middle"),
        ("not_a_number", "values", {}, "is nan, not a finite number"),
        ("other_in_onnx", "two", {}, r"does not trust \(before that: float: 1, \d+ rows over"),
        (
            "forgets",
            "values",
            {"trusted": ("cards.frameworks.Forgets",)},
            "every form of Forgets differs from the native",
        ),
        ("anything", "two", {"trusted": ()}, "holds cards.frameworks.Rule, which the project does not trust"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    kind: str, task: str, changes: dict[str, Any], says: str, data: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=says) as failed:
        trained(spec_for(data, kind, task, **changes), tmp_path)
    assert len(str(failed.value).split(" | ")[1]) > 10
    assert not {path.name for path in tmp_path.iterdir()} & set(FILES.values())


def test_three_classes_need_one_that_is_scored(data: dict[str, Path], tmp_path: Path) -> None:
    codes = pl.col("y").replace_strict({"high": 0, "low": 1, "middle": 2}, return_dtype=pl.Int64)
    pl.read_parquet(data["many"]).with_columns(codes).write_parquet(tmp_path / "many")
    with pytest.raises(AssertionError, match="knows 3 classes: 0, 1, 2"):
        trained(spec_for({"many": tmp_path / "many"}, "scikit", "many", positive=""), tmp_path / "out")


def test_scores_that_are_not_finite_are_counted_for_the_gate(data: dict[str, Path], tmp_path: Path) -> None:
    assert trained(spec_for(data, "gaps", "values"), tmp_path).value is None
    spec = EvaluateSpec("rmse", str(tmp_path), str(tmp_path / "holdout.parquet"), str(tmp_path / "training.json"))
    found = evaluate.evaluate(replace(spec, trusted=TRUSTED, latency_calls=20))
    assert 100 < found.nonfinite_outputs < found.rows


def test_the_allow_list_is_the_readers_not_the_files(data: dict[str, Path], tmp_path: Path) -> None:
    trained(spec_for(data, "anything", "two"), tmp_path)
    with pytest.raises(Refused, match=r"cards\.frameworks\.Rule") as refused:
        load((tmp_path / "model.skops").read_bytes(), ("cards.frameworks.Mean",))
    assert "trusted = ['cards.frameworks.Rule']" in refused.value.hint


@pytest.mark.parametrize(
    ("does", "seconds", "why"),
    [
        ("time.sleep(600)", 3, "it did not load and score within 3 s, and was ended"),
        ("bytearray(2**42)", 60, "it needs more than 512 MB of memory to load and score"),
    ],
)
def test_a_handler_that_hangs_or_takes_all_memory_while_it_loads_is_ended(
    does: str, seconds: float, why: str, data: dict[str, Path], tmp_path: Path
) -> None:
    """The artifact is as it was trained; the project's code that reads it is not."""
    trained(spec_for(data, "anything", "two"), tmp_path / "artifact")
    (tmp_path / "cards").mkdir()
    code = f"import os, time\n\nclass Rule:\n    def __setstate__(self, state):\n        {does}\n"
    (tmp_path / "cards" / "frameworks.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    server = Server(sys.executable, tmp_path, environment, ["--trust", "cards.frameworks.Rule"])
    assert check(tmp_path / "artifact", "m", 1, None, Limits(512, seconds), server).problem == why


def test_a_python_object_is_served_by_its_own_environment(data: dict[str, Path], tmp_path: Path) -> None:
    """A real model server that may import the project; without the type on its list it does not start."""
    trained(spec_for(data, "anything", "two"), tmp_path / "artifact")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "conveyor.serving", "--artifact", str(tmp_path / "artifact"), "--name", "fraud"]
    command += ["--version", "1", "--port", str(port), "--observations", str(tmp_path / "observations")]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert refused.returncode == 1
    assert "cards.frameworks.Rule, which the project does not trust" in refused.stderr

    trust = ["--trust", "cards.frameworks.Rule"]
    server = subprocess.Popen([*command, *trust], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address, deadline = f"http://127.0.0.1:{port}/v2/models/fraud", time.monotonic() + 120
        while True:
            assert server.poll() is None, server.communicate()[1]
            try:
                about = httpx.get(address).json()
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert about["platform"] == "skops"
        assert about["parameters"] == {"features": ["a", "b", "c"], "classes": ["0", "1"]}
        example = wire.from_json((tmp_path / "artifact" / "model.json").read_bytes(), ModelManifest).example
        rows = {"name": "input", "shape": [1, 3], "datatype": "FP32", "data": list(example.row)}
        (answer,) = httpx.post(f"{address}/infer", json={"inputs": [rows]}).json()["outputs"]
        assert (answer["name"], answer["shape"]) == ("probabilities", [1, 2])
        assert answer["data"][1] == pytest.approx(example.score, abs=1e-6)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0
