from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.evaluation import Evaluation
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import EvaluateSpec, InputSpec, LiveModel, StepError, TrainingReport, TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import evaluate, slicing, table, train
from conveyor.sdk.forms.onnx import OnnxScorer
from conveyor.sdk.forms.scorer import score

PROJECT = Path(__file__).parent / "project"
START = datetime(2018, 4, 1)
HOURS = 40 * 24
KNOWN = (START + timedelta(hours=HOURS)).replace(tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten rows an hour for 50 days, the last ten beyond what is known; values that single precision cannot hold."""
    random = np.random.default_rng(3)
    count = (HOURS + 240) * 10
    a, b = random.gamma(2.0, 30.0, count), random.normal(size=count)
    c = random.integers(0, 3, count)
    made = {
        "at": [START + timedelta(hours=1 + n // 10) for n in range(count)],
        "id": np.arange(count),
        "a": a,
        "b": b,
        "c": c,
        "word": ["x"] * count,
        "y": (a + 20 * b + 10 * c + random.normal(0, 20, count) > 110).astype(np.int8),
        "value": 1000 * a + random.normal(0, 500, count),
    }
    path = tmp_path_factory.mktemp("rows") / "object"
    pl.DataFrame(made).write_parquet(path)
    return path


def spec_for(rows: Path, function: str, **changes: Any) -> TrainSpec:
    base = TrainSpec(
        model="m",
        function=f"cards.small:{function}",
        inputs=(InputSpec("rows", (str(rows),)),),
        label="y",
        time="at",
        key="id",
        known_until=KNOWN,
        metric="average_precision",
        window=20 * DAY,
        gap=5 * DAY,
        holdout=10 * DAY,
    )
    return replace(base, **changes)


def run(spec: TrainSpec, out: Path) -> TrainingReport:
    out.mkdir(exist_ok=True)
    (out / "spec.json").write_bytes(wire.to_json(spec))
    code = train.main([str(out / "spec.json"), str(out)])
    if code != 0:
        error = wire.from_json((out / "error.json").read_bytes(), StepError)
        raise AssertionError(f"{error.message} | {error.hint}")
    return wire.from_json((out / "training.json").read_bytes(), TrainingReport)


def test_the_contracts_rules_of_features_go_with_the_model(rows: Path, tmp_path: Path) -> None:
    """But not one that the training rows break: a step made something else of that column."""
    rules = {
        "a": {"min": 0, "type": "Float64"}, "b": {"min": 0}, "c": {"type": "Int64", "max": 2, "one_of": [0, 1, 2]},
        "word": {"one_of": ["x"]}, "value": {"min": 0},
    }  # fmt: skip
    run(spec_for(rows, "train", params={"kind": "logistic"}, rules=rules), tmp_path)
    manifest = wire.from_json((tmp_path / "model.json").read_bytes(), ModelManifest)
    assert {rule.name for rule in manifest.rules} == {"a:min", "c:type", "c:max", "c:one_of"}


@pytest.mark.parametrize(
    "kind",
    [
        *("logistic", "bare logistic", "tree", "forest", "scaled forest", "boosting", "histograms"),
        *("scaled histograms", "imputed", "columns"),
    ],
)
def test_the_onnx_form_scores_as_the_native_estimator(kind: str, rows: Path, tmp_path: Path) -> None:
    report = run(spec_for(rows, "train", params={"kind": kind}, slices=("c",), baseline="logistic"), tmp_path)
    assert report.parity.max_abs_difference <= 1e-5
    assert report.parity.rows == report.holdout.rows == 2400
    assert report.features == ("a", "b", "c")
    assert {path.name for path in tmp_path.iterdir()} == {
        "holdout.parquet", "model.json", "model.onnx", "spec.json", "track.jsonl", "training.json",
    }  # fmt: skip

    manifest = wire.from_json((tmp_path / "model.json").read_bytes(), ModelManifest)
    takes, gives = manifest.signature.inputs, manifest.signature.outputs
    assert [(one.name, one.datatype, one.shape) for one in takes] == [("input", "FP32", (-1, 3))]
    assert [(one.name, one.datatype, one.shape) for one in gives] == [
        ("label", "INT64", (-1,)), ("probabilities", "FP32", (-1, 2)),
    ]  # fmt: skip
    session = OnnxScorer((tmp_path / "model.onnx").read_bytes())
    row = np.array([manifest.example.row], dtype=np.float32)
    assert score(session, row, manifest.signature.score)[0] == pytest.approx(manifest.example.score, abs=1e-4)

    holdout = pl.read_parquet(tmp_path / "holdout.parquet")
    assert [str(holdout.schema[name]) for name in "abc"] == ["Float32"] * 3
    scores = score(session, table.matrix(holdout, report.features), manifest.signature.score)
    assert np.abs(scores - holdout["__native__"].to_numpy()).max() <= 1e-5
    assert {"__label__", "__time__", "__key__", "__baseline__"} <= set(holdout.columns)
    profile = manifest.profile
    assert profile.rows == report.training.rows == 4800
    assert profile.score is not None
    assert sum(profile.score.counts) == 2400
    for feature in profile.features.values():
        assert sum(feature.counts) == 4800
        assert list(feature.edges) == sorted(set(feature.edges))


@pytest.mark.parametrize("kind", ["linear", "forest values"])
def test_a_regressor_is_compared_relative_to_its_size(kind: str, rows: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "values"
    pl.read_parquet(rows).drop("y").rename({"value": "y"}).write_parquet(renamed)
    report = run(spec_for(renamed, "train", params={"kind": kind}, metric="rmse"), tmp_path / "out")
    assert report.parity.max_abs_difference <= 1e-5
    manifest = wire.from_json((tmp_path / "out" / "model.json").read_bytes(), ModelManifest)
    assert manifest.signature.score.output == "variable"
    found = judged(tmp_path / "out", "rmse")
    assert found.value == pytest.approx(report.value, rel=1e-4)
    assert set(found.metrics) == {"rmse", "mae", "r2"}
    assert found.single_feature_auc == {}


def test_user_code_sees_training_rows_only_and_draws_alike(rows: Path, tmp_path: Path) -> None:
    inputs = (InputSpec("rows", (str(rows),)), InputSpec("other", (str(rows),), "at", None, "y"))
    reports = [run(spec_for(rows, "reports", inputs=inputs, seed=5), tmp_path / name) for name in ("one", "two")]
    seen = reports[0].metrics
    until = KNOWN - 15 * DAY
    assert seen["rows"] == reports[0].training.rows == 4800
    assert seen["first"] == (until - 20 * DAY + timedelta(hours=1)).replace(tzinfo=None).timestamp()
    assert seen["last"] == seen["other_last"] == until.replace(tzinfo=None).timestamp()
    assert seen["other_labels"] == 25 * 240
    assert seen == reports[1].metrics
    assert (tmp_path / "one/model.onnx").read_bytes() == (tmp_path / "two/model.onnx").read_bytes()


@given(
    st.timedeltas(timedelta(0), 400 * DAY),
    st.none() | st.timedeltas(timedelta(seconds=1), 90 * DAY),
    st.timedeltas(timedelta(0), 30 * DAY),
    st.none() | st.timedeltas(timedelta(seconds=1), 30 * DAY),
)
def test_ranges_never_touch(
    age: timedelta, window: timedelta | None, gap: timedelta, holdout: timedelta | None
) -> None:
    spec = TrainSpec("m", "f", (), "y", "at", KNOWN, "roc_auc", window=window, gap=gap, holdout=holdout)
    training, held = slicing.cut(spec, KNOWN - age)
    assert held.until == KNOWN
    assert training.until == held.after - gap
    assert training.after <= training.until <= held.after <= held.until
    if window is not None:
        assert training.until - training.after == window


def test_a_row_on_a_boundary_belongs_to_the_older_side(tmp_path: Path) -> None:
    path = tmp_path / "object"
    pl.DataFrame({"at": [START + n * DAY for n in range(6)], "y": [0, 1, 0, 1, 0, None]}).write_parquet(path)
    known = (START + 5 * DAY).replace(tzinfo=UTC)
    source = InputSpec("rows", (str(path),))
    spec = TrainSpec("m", "f", (source,), "y", "at", known, "roc_auc", window=2 * DAY, gap=DAY, holdout=2 * DAY)
    cut = train.read(spec)
    assert cut.training["at"].to_list() == [START + DAY, START + 2 * DAY]
    assert cut.holdout["at"].to_list() == [START + 4 * DAY]  # day 5 has no label; day 3 is the gap
    opened = train.read(replace(spec, window=None))
    assert opened.training["at"].to_list() == [START, START + DAY, START + 2 * DAY]


@pytest.mark.parametrize(
    ("function", "changes", "says"),
    [
        ("unfitted", {}, "the returned estimator is not fitted"),
        ("nothing", {}, "cards.small:nothing returned nothing"),
        ("nameless", {}, "does not know its feature names"),
        ("leaky", {}, "the label y is among the features"),
        ("worded", {}, "feature word is String, not a number"),
        ("fails", {}, r"ZeroDivisionError: division by zero \(cards/small.py:\d+ in fails\)"),
        ("nowhere", {}, "has no nowhere"),
        ("nameless", {"features": ("a", "b", "missing")}, "feature missing is not a column"),
        ("train", {"features": ("b", "a", "c"), "params": {"kind": "tree"}}, "fitted on a, b, c"),
        ("train", {"slices": ("zone",), "params": {"kind": "tree"}}, "slice zone is not a column"),
        ("train", {"metric": "kappa"}, "unknown metric kappa"),
        ("train", {"baseline": "median", "params": {"kind": "tree"}}, "unknown baseline median"),
        ("train", {"known_until": KNOWN - 400 * DAY}, "no row with a known label"),
        ("train", {"gap": 90 * DAY}, r"no labelled rows in the training range \(2018-01-11"),
        ("train", {"label": "fraud"}, "lacks its label column fraud"),
        (
            "train",
            {"parity_tolerance": 1e-12, "params": {"kind": "forest"}},
            "rows over",
        ),
    ],
)
def test_what_cannot_be_trained_says_why(
    function: str, changes: dict[str, Any], says: str, rows: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=says) as failed:
        run(spec_for(rows, function, **changes), tmp_path)
    assert len(str(failed.value).split(" | ")[1]) > 10
    assert not (tmp_path / "model.onnx").exists()


def test_declared_features_serve_an_estimator_without_names(rows: Path, tmp_path: Path) -> None:
    assert run(spec_for(rows, "nameless", features=("a", "b", "c")), tmp_path).features == ("a", "b", "c")


def judged(candidate: Path, metric: str, **more: Any) -> Evaluation:
    out = candidate / "evaluation"
    out.mkdir(exist_ok=True)
    files = (str(candidate), str(candidate / "holdout.parquet"), str(candidate / "training.json"))
    (out / "spec.json").write_bytes(wire.to_json(EvaluateSpec(metric, *files, resamples=100, **more)))
    assert evaluate.main([str(out / "spec.json"), str(out)]) == 0
    return wire.from_json((out / "evaluation.json").read_bytes(), Evaluation)


def test_the_evaluation_agrees_with_independent_figures(rows: Path, tmp_path: Path) -> None:
    forest, other = tmp_path / "forest", tmp_path / "other"
    report = run(spec_for(rows, "train", params={"kind": "forest"}, slices=("c",), baseline="logistic"), forest)
    run(spec_for(rows, "reversed_features"), other)
    live = LiveModel(4, str(other / "model.onnx"), str(other / "model.json"))
    found = judged(forest, "average_precision", live=live, slices=("c",))

    holdout = pl.read_parquet(forest / "holdout.parquet")
    truth, scores = holdout["__label__"].to_numpy(), holdout["__native__"].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {
            "average_precision": sklearn.metrics.average_precision_score(truth, scores),
            "roc_auc": sklearn.metrics.roc_auc_score(truth, scores),
            "log_loss": sklearn.metrics.log_loss(truth, scores),
            "brier": sklearn.metrics.brier_score_loss(truth, scores),
            "accuracy": sklearn.metrics.accuracy_score(truth, scores >= 0.5),
            "f1": sklearn.metrics.f1_score(truth, scores >= 0.5),
        }
    assert found.metrics == pytest.approx(wanted, rel=2e-3)
    assert found.value == pytest.approx(wanted["average_precision"], abs=1e-6)
    assert (found.rows, found.positives) == (2400, int(truth.sum())) == (report.holdout.rows, report.holdout.positives)
    assert found.latency_p99_ms > 0
    assert found.parity_max_abs_difference == report.parity.max_abs_difference
    assert found.nonfinite_outputs == 0

    reference = pl.read_parquet(other / "holdout.parquet")["__native__"].to_numpy()
    assert found.comparison is not None
    assert found.comparison.live_version == 4
    assert found.comparison.live == pytest.approx(sklearn.metrics.average_precision_score(truth, reference), abs=1e-6)
    assert found.comparison.low <= found.comparison.difference <= found.comparison.high
    assert found.baseline is not None
    assert found.baseline.live == report.baseline
    for name in "abc":
        alone = sklearn.metrics.roc_auc_score(truth, holdout[name].to_numpy())
        assert found.single_feature_auc[name] == pytest.approx(max(alone, 1 - alone))
    part = holdout["c"].to_numpy() == 2
    by_hand = sklearn.metrics.average_precision_score(truth[part], scores[part])
    assert found.slices["c"]["2.0"] == pytest.approx(by_hand, abs=1e-6)

    cut = holdout.drop("b")
    spec = EvaluateSpec("roc_auc", str(forest), "", "", live=live)
    compared, reason = evaluate.scores_of_live(spec, cut)
    assert compared is None
    assert reason == "version 4 needs b, which the features no longer give"


def test_gaps_do_not_count_against_a_feature() -> None:
    truth = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    rows = np.array([[3, 1], [1, 1], [np.nan, 1], [np.nan, 1], [2, 1]], dtype=np.float32)
    assert evaluate.single_feature_auc(truth, rows, ("gaps", "flat")) == {"gaps": 1.0, "flat": 0.5}


def test_a_missing_spec_is_an_error_with_a_file(tmp_path: Path) -> None:
    assert train.main([]) == 2
    assert train.main([str(tmp_path / "none.json"), str(tmp_path)]) == 1
    assert "none.json" in (tmp_path / "error.json").read_text()
    assert InputRejected("x").hint == ""
