"""Evaluation respects time: what is trained on, what is held out, which labels count, and trainings of the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from conveyor.domain import wire
from conveyor.domain.dataset import known_until
from conveyor.domain.evaluation import Backtest, Evaluation
from conveyor.domain.gate import Outcome
from conveyor.domain.gates.config import BacktestGate, GatesConfig, MaturityGate
from conveyor.domain.gates.decide import decide
from conveyor.domain.project import GROUP_SPLITS
from conveyor.domain.step import BacktestSpec, InputSpec, TrainSpec
from conveyor.sdk import backtest, slicing, train

PROJECT = Path(__file__).parent / "project"
START = datetime(2026, 1, 1)
DAY = timedelta(days=1)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


def spec_of(path: Path, known: datetime, **changes: object) -> TrainSpec:
    source = InputSpec("rows", (str(path),), time="at", label="y")
    spec = TrainSpec("m", "cards.small:train", (source,), "y", "at", known.replace(tzinfo=UTC), "roc_auc")
    return replace(spec, **changes)


HOURS = st.integers(1, 200).map(lambda hours: timedelta(hours=hours))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 5) | st.none(), st.sampled_from([0, 1, None]))),
    split=st.sampled_from(GROUP_SPLITS),
    window=HOURS | st.none(),
    gap=HOURS | st.just(timedelta(0)),
    holdout=HOURS | st.none(),
    known=st.integers(1, 520),
)
def test_no_row_of_the_holdout_nor_of_its_groups_future_is_trained_on(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int | None, int | None]], split: str,
    window: timedelta | None, gap: timedelta, holdout: timedelta | None, known: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("rows") / "object"
    made = [(n, START + timedelta(hours=hour), who, y) for n, (hour, who, y) in enumerate([*rows, (0, 0, 1)])]
    schema = {"id": pl.Int64, "at": pl.Datetime("us"), "who": pl.Int64, "y": pl.Int8}
    pl.DataFrame(made, schema, orient="row").write_parquet(path)
    until = START + timedelta(hours=known)
    spec = spec_of(path, until, window=window, gap=gap, holdout=holdout, group="who", group_split=split)
    cut = train.read(spec)
    trained, held = cut.training, cut.holdout
    assert not set(trained["id"]) & set(held["id"])
    assert trained["y"].null_count() == held["y"].null_count() == 0
    assert all(at <= until for at in [*trained["at"], *held["at"]])
    if trained.height and held.height:
        assert max(trained["at"]) <= min(held["at"]) - gap
        assert max(trained["at"]) < min(held["at"])
    if split != "past":
        assert not set(trained["who"].drop_nulls()) & set(held["who"].drop_nulls())
    plain = train.read(replace(spec, group=None))
    ends = {"past": (plain.training, plain.holdout), "unseen": (plain.training, None), "apart": (None, plain.holdout)}
    for found, wanted in zip((trained, held), ends[split], strict=True):
        assert wanted is None or set(found["id"]) == set(wanted["id"]), "what need not go stays"


def arrivals(path: Path, days: int = 60) -> float:
    """100 rows a day, 20 of them positive; positives are told after a day, negatives after ten. Now: the last day."""
    made = []
    for day in range(days):
        for n in range(100):
            positive = n < 20
            told = day + (1 if positive else 10) <= days
            made.append((START + day * DAY + timedelta(minutes=n), int(positive) if told else None, float(n)))
    pl.DataFrame(made, {"at": pl.Datetime("us"), "y": pl.Int8, "a": pl.Float64}, orient="row").write_parquet(path)
    return 0.2


def test_a_window_cut_by_maturity_is_not_biased_by_labels_that_come_sooner_for_one_class(tmp_path: Path) -> None:
    share = arrivals(tmp_path / "object")
    now = START + 60 * DAY
    gates = GatesConfig(maturity=MaturityGate(max_unlabelled=0.01))

    def seen(delay: timedelta) -> tuple[float, Outcome]:
        known = known_until(now.replace(tzinfo=UTC), delay)
        cut = train.read(spec_of(tmp_path / "object", known.replace(tzinfo=None), holdout=7 * DAY))
        held = slicing.measure(cut.holdout, spec_of(tmp_path, now), cut.holdout_range, cut.unlabelled[1])
        figures = Evaluation("roc_auc", 0.9, held.rows, held.positives, {}, None, {}, 0.0, 0)
        verdicts = decide(gates, replace(figures, unlabelled=held.unlabelled), (), ())
        return held.positives / held.rows, {v.gate: v.outcome for v in verdicts}["maturity"]

    assert seen(10 * DAY) == (pytest.approx(share, abs=0.005), Outcome.PASS)
    biased, outcome = seen(1 * DAY)
    assert (biased > 0.9, outcome) == (True, Outcome.INSUFFICIENT)


def test_a_backtest_is_the_training_of_earlier_times_written_out(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    count = 60 * 40
    frame = pl.DataFrame(
        {
            "at": [START + timedelta(hours=36 * n / 60) for n in range(count)],
            **{name: random.normal(size=count).astype(np.float32).astype(np.float64) for name in "abc"},
        }
    ).with_columns((pl.col("a") + pl.Series(random.normal(size=count)) > 0.5).cast(pl.Int8).alias("y"))
    frame.write_parquet(tmp_path / "object")
    until = START + 55 * DAY
    spec = spec_of(
        tmp_path / "object", until, window=15 * DAY, gap=2 * DAY, holdout=5 * DAY, params={"kind": "bare logistic"}
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "spec.json").write_bytes(wire.to_json(BacktestSpec(spec, folds=6, step=10 * DAY)))
    assert backtest.main([str(out / "spec.json"), str(out)]) == 0
    found = wire.from_json((out / "backtest.json").read_bytes(), Backtest)

    assert [fold.until.replace(tzinfo=None) for fold in found.folds] == [until - n * 10 * DAY for n in range(6, 0, -1)]
    assert "no row with a known label" in found.folds[0].why
    assert "no labelled rows in the training range" in found.folds[1].why or found.folds[1].value is not None
    for fold in found.folds[2:]:
        end = fold.until.replace(tzinfo=None)
        past = frame.filter((pl.col("at") > end - 22 * DAY) & (pl.col("at") <= end - 7 * DAY))
        then = frame.filter((pl.col("at") > end - 5 * DAY) & (pl.col("at") <= end))
        model = LogisticRegression(max_iter=500).fit(past.select("a", "b", "c").to_pandas(), past["y"].to_numpy())
        scores = model.predict_proba(then.select("a", "b", "c").to_pandas())[:, 1]
        assert (fold.training_rows, fold.rows) == (past.height, then.height)
        assert fold.value == pytest.approx(sklearn.metrics.roc_auc_score(then["y"].to_numpy(), scores), abs=1e-6)

    evaluation = Evaluation("roc_auc", 0.8, 200, 90, {}, None, {}, 0.0, 0, backtest=found)
    values = [fold.value for fold in found.folds if fold.value is not None]
    for gate, outcome in [
        (BacktestGate(min=0.6, worst=0.5), Outcome.PASS),
        (BacktestGate(min=0.99), Outcome.FAIL),
        (BacktestGate(worst=min(values) + 1e-6), Outcome.FAIL),
    ]:
        verdict = {v.gate: v for v in decide(GatesConfig(backtest=gate), evaluation, (), ())}["backtest"]
        assert verdict.outcome is outcome
        assert verdict.figures["mean"] == pytest.approx(np.mean(values))
    short = replace(evaluation, backtest=Backtest("roc_auc", found.folds[:1]))
    verdict = {v.gate: v for v in decide(GatesConfig(backtest=BacktestGate()), short, (), ())}["backtest"]
    assert verdict.outcome is Outcome.INSUFFICIENT
