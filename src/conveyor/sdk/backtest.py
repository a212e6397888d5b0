"""`python -m conveyor.sdk.backtest SPEC.json OUT`: the training as of earlier times, judged each time.

A rolling origin (Tashman 2000): fold i ends i steps before the newest known label. It is cut, trained and scored as the
training itself is; labels that came later than a fold's end are masked in it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from conveyor.domain.evaluation import Backtest, Fold
from conveyor.domain.metric import METRICS
from conveyor.domain.step import BacktestSpec, TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import process, slicing, table
from conveyor.sdk.convert import positive_of
from conveyor.sdk.handlers.table import handler_for
from conveyor.sdk.run import Run
from conveyor.sdk.train import features_of, fit, judge, read


def backtest(spec: BacktestSpec, scratch: Path) -> Backtest:
    """Folds oldest first. Those that have too few rows are left out, and said."""
    folds: list[Fold] = []
    for back in range(spec.folds, 0, -1):
        until = spec.train.known_until - back * spec.step
        try:
            folds.append(_fold(replace(spec.train, known_until=until), scratch / str(back)))
        except InputRejected as error:
            folds.append(Fold(until, None, until, 0, 0, None, error.message))
    return Backtest(spec.train.metric, tuple(folds))


def _fold(spec: TrainSpec, scratch: Path) -> Fold:
    rows = read(spec)
    training = slicing.measure(rows.training, spec, rows.training_range)
    holdout = slicing.measure(rows.holdout, spec, rows.holdout_range)
    classes = rows.training[spec.label].n_unique() if METRICS[spec.metric].classification else None
    slicing.refuse_empty(training, holdout, classes)
    estimator = fit(spec, rows, scratch, Run())
    handler = handler_for(estimator, spec.function)
    features = features_of(spec, handler, estimator, rows.training.schema)
    given = handler.predict(estimator, table.numbers(rows.holdout, features), features)
    positive = positive_of(handler.classes(estimator), spec.positive)
    value = judge(spec, rows.holdout, given[:, min(positive, given.shape[1] - 1)])
    known = value if value is not None and np.isfinite(value) else None
    why = "" if known is not None else f"{spec.metric} is undefined on {holdout.rows} rows"
    return Fold(training.until, training.after, holdout.until, training.rows, holdout.rows, known, why)


def main(argv: list[str]) -> int:
    return process.run(
        argv,
        BacktestSpec,
        lambda spec, out: process.write_json(out / "backtest.json", backtest(spec, out / ".inputs")),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
