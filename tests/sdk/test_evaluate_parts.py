"""What the gates on parts, people and behaviour read, from a training and an evaluation as they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.metrics

from conveyor.domain import wire
from conveyor.domain.evaluation import Evaluation
from conveyor.domain.gate import Outcome
from conveyor.domain.gates.config import (
    BaselineGate,
    Bound,
    CalibrationGate,
    FairnessGate,
    GatesConfig,
    ReproducibleGate,
    SlicesGate,
)
from conveyor.domain.gates.decide import decide
from conveyor.domain.step import LiveModel

from .test_train import PROJECT, judged, rows, run, spec_for  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


def test_every_gate_from_one_training(rows: Path, tmp_path: Path) -> None:  # noqa: F811
    """The live model is good but for c = 2, where it is the candidate that is made bad: the search must find that."""
    poisoned = tmp_path / "rows"
    frame = pl.read_parquet(rows)
    training_only = pl.col("at") <= pl.col("at").min() + pl.duration(days=25)
    frame.with_columns(
        pl.when(training_only & (pl.col("c") == 2)).then(1 - pl.col("y")).otherwise(pl.col("y")).alias("y"),
        (pl.col("id") % 40).alias("who"),
    ).write_parquet(poisoned)
    bad, good = tmp_path / "bad", tmp_path / "good"
    shared = {"slices": ("c",), "group": "who", "baseline": "previous", "twice": True}
    report = run(spec_for(poisoned, "train", params={"kind": "histograms"}, **shared), bad)
    run(spec_for(rows, "train", params={"kind": "logistic"}), good)
    gates = GatesConfig(
        slices=SlicesGate(margin=0.05, find=True),
        fairness=FairnessGate("c", "tpr", 0.1),
        calibration=CalibrationGate(max_ece=0.02),
        behaviour="cards.judged",
        also={"precision_at_100": Bound(min=0.2), "accuracy": Bound(min=0.2)},
        reproducible=ReproducibleGate(),
        baseline=BaselineGate("previous"),
    )
    found: Evaluation = judged(
        bad, "average_precision", live=LiveModel(4, str(good / "model.onnx"), str(good / "model.json")), gates=gates,
        slices=("c",), group="who", metrics=("cards.judged:precision_at_100",),
    )  # fmt: skip
    holdout = pl.read_parquet(bad / "holdout.parquet")
    truth, scores = holdout["__label__"].to_numpy(), holdout["__native__"].to_numpy()
    assert found.metrics["precision_at_100"] == truth[np.argsort(-scores)[:100]].mean()
    assert found.twice_max_abs_difference == 0.0
    assert report.baseline_name == "previous"
    assert found.baseline is not None
    assert found.comparison is not None
    assert (found.comparison.method, found.comparison.groups) == ("bootstrap of groups", 40)
    assert {one.name for one in found.slice_figures} == {"c=0.0", "c=1.0", "c=2.0"}
    parts = {f"c={value}": holdout["c"].to_numpy() == value for value in (0.0, 1.0, 2.0)}
    by_hand = {name: sklearn.metrics.average_precision_score(truth[part], scores[part]) for name, part in parts.items()}
    assert {one.name: one.value for one in found.slice_figures} == pytest.approx(by_hand, abs=1e-5)
    verdicts = {verdict.gate: verdict for verdict in decide(gates, found, (), ("a", "b", "c"))}
    assert verdicts["slices"].outcome is Outcome.FAIL
    assert "c=2.0: average_precision differs from live by -" in verdicts["slices"].message
    assert any("c = 2.0" in one.name and one.p_value < 0.05 for one in found.found_slices)
    assert verdicts["fairness"].outcome is Outcome.FAIL
    assert verdicts["calibration"].outcome is Outcome.FAIL
    assert verdicts["precision_at_100"].outcome is verdicts["reproducible"].outcome is Outcome.PASS
    tried = {one.name: one for one in found.behaviour}
    assert list(tried) == ["the_clock_does_not_matter", "more_of_b_is_not_safer", "plain_cases", "backwards"]
    assert (tried["the_clock_does_not_matter"].failures, tried["the_clock_does_not_matter"].rows) == (0, 2400)
    assert 0 < tried["backwards"].failures <= 2400
    assert verdicts["behaviour"].outcome is Outcome.FAIL
    assert wire.from_json(wire.to_json(found), Evaluation) == found


@pytest.mark.parametrize("baseline", ["constant", "previous"])
def test_baselines_of_a_regression(baseline: str, rows: Path, tmp_path: Path) -> None:  # noqa: F811
    values = tmp_path / "values"
    pl.read_parquet(rows).drop("y").rename({"value": "y"}).write_parquet(values)
    spec = spec_for(values, "train", params={"kind": "linear"}, metric="rmse", baseline=baseline, group="c")
    report = run(spec, tmp_path / "out")
    holdout = pl.read_parquet(tmp_path / "out" / "holdout.parquet")
    simple = holdout["__baseline__"]
    assert simple.n_unique() == {"constant": 1, "previous": 3}[baseline]
    error = float(((holdout["__label__"] - simple) ** 2).mean()) ** 0.5  # type: ignore[arg-type]
    assert report.baseline == pytest.approx(error)
    assert report.value < error
