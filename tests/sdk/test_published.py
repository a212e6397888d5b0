"""The published split of the Fraud Detection Handbook's data, through Conveyor's own entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.domain import wire
from conveyor.domain.evaluation import Evaluation
from conveyor.domain.step import EvaluateSpec, InputSpec, StepSpec, TrainingReport, TrainSpec

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CONVEYOR_DATA", ROOT.parent / "shared" / "data")) / "fdh_transformed"
PROJECT = Path(__file__).parent / "project"
LAST = datetime(2018, 8, 14, 23, 59, 59, 999999, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the published data is not on this machine (CONVEYOR_DATA)")


def run(entry: str, spec: object, out: Path) -> None:
    """As the engine does: a process in the project's tree."""
    out.mkdir()
    (out / "spec.json").write_bytes(wire.to_json(spec))
    command = [sys.executable, "-m", f"conveyor.sdk.{entry}", str(out / "spec.json"), str(out)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    days = [datetime(2018, 7, 25, tzinfo=UTC) + timedelta(days=n) for n in range(21)]
    files = tuple(str(DATA / f"{day:%Y-%m-%d}.parquet") for day in days)
    source = InputSpec("transactions", files, "TX_DATETIME", "TRANSACTION_ID", "TX_FRAUD", LAST)
    out = tmp_path_factory.mktemp("published") / "step"
    params = {"test_from": "2018-08-08", "delay_days": 7}
    run("step", StepSpec("cards.features:without_known_cards", (source,), params), out)
    return out / "output.parquet"


@pytest.mark.parametrize(("function", "published"), [("logistic", 0.606), ("forest", 0.658)])
def test_average_precision_is_the_published_one(
    function: str, published: float, features: Path, tmp_path: Path
) -> None:
    week = timedelta(days=7)
    spec = TrainSpec(
        model="fraud",
        function=f"cards.fraud:{function}",
        inputs=(InputSpec("features", (str(features),)),),
        label="TX_FRAUD",
        time="TX_DATETIME",
        key="TRANSACTION_ID",
        known_until=LAST,
        metric="average_precision",
        params={"n_estimators": 100} if function == "forest" else {},
        window=week,
        gap=week,
        holdout=week,
        baseline="logistic",
    )
    run("train", spec, tmp_path / "train")
    made = tmp_path / "train"
    report = wire.from_json((made / "training.json").read_bytes(), TrainingReport)
    assert report.parity.max_abs_difference <= report.parity.tolerance
    assert len(report.features) == 15

    paths = (str(made), str(made / "holdout.parquet"), str(made / "training.json"))
    run("evaluate", EvaluateSpec("average_precision", *paths), tmp_path / "evaluate")
    found = wire.from_json((tmp_path / "evaluate" / "evaluation.json").read_bytes(), Evaluation)
    assert found.value == pytest.approx(published, abs=0.01)
    assert found.value == pytest.approx(report.value, abs=1e-3)
    assert found.nonfinite_outputs == 0
    assert found.baseline is not None
    assert found.baseline.live == pytest.approx(0.606, abs=0.01)
    print(function, found.value, report)
