"""How far the estimate of quality without labels is from the truth, beside assuming that nothing changed.

    make bench-estimate            published transactions (fdh) and Elec2, two kinds of model each
    QUICK=1 make bench-estimate    one kind of model

A line a case: the mean absolute error over windows of the estimate, of "no change" (the version's quality on its own
holdout) and of the last quality known. Labels renew the estimate as late as they come: a week for fdh, a block for
Elec2. `covered` is the share of windows whose truth lies in the estimate's 95 % interval. Exit 1 when a goal is missed.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conveyor.domain.measures import expected
from conveyor.domain.statistics import compute

DATA = Path(os.environ.get("DATA", Path(__file__).parents[2] / "shared" / "data"))
ELEC2 = ["day", "period", "nswdemand", "vicprice", "vicdemand", "transfer"]
BLOCK = 48 * 28

Floats = npt.NDArray[np.float64]
Rows = tuple[Floats, Floats]


@dataclass
class Errors:
    estimate: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)


def frozen(model: Any, training: Rows, holdout: Rows, windows: list[Rows], metric: str, late: int) -> Errors:
    """One version over all windows; the labels of a window are known `late` windows after it."""
    model.fit(*training)
    scores = scored(model, holdout)
    known = expected.calibrator(holdout[1], scores)
    assert known is not None
    reference = last = compute(metric, holdout[1], scores)
    waiting: list[tuple[Floats, Floats]] = []
    found = Errors()
    for window in windows:
        if len(waiting) == late:
            labels, past = waiting.pop(0)
            known, last = expected.renewed(known, labels, past), compute(metric, labels, past)
        scores = scored(model, window)
        add(found, known, metric, window[1], scores, reference, last)
        waiting.append((window[1], scores))
    return found


def current(make: Callable[[], Any], block: Callable[[int, int], Rows], count: int, metric: str) -> Errors:
    """A version a block, trained on three blocks before its holdout, which is the newest block with labels."""
    found = Errors()
    for number in range(4, count):
        model = make().fit(*block(number - 4, number - 1))
        holdout, window = block(number - 1, number), block(number, number + 1)
        scores = scored(model, holdout)
        known = expected.calibrator(holdout[1], scores)
        assert known is not None
        reference = compute(metric, holdout[1], scores)
        add(found, known, metric, window[1], scored(model, window), reference, reference)
    return found


def add(found: Errors, known: Any, metric: str, labels: Floats, scores: Floats, same: float, last: float) -> None:
    truth = compute(metric, labels, scores)
    given = expected.estimate(metric, expected.tally(scores, known.edges), known)
    assert given is not None
    found.estimate.append(abs(given.value - truth))
    found.same.append(abs(same - truth))
    found.last.append(abs(last - truth))
    found.covered.append(given.low <= truth <= given.high)


def scored(model: Any, rows: Rows) -> Floats:
    scores: Floats = model.predict_proba(rows[0])[:, 1].astype(np.float32)
    return scores


def models(leaf: int, depth: int | None) -> dict[str, Callable[[], Any]]:
    def forest() -> Any:
        return RandomForestClassifier(50, min_samples_leaf=leaf, max_depth=depth, random_state=0, n_jobs=2)

    def logistic() -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression())

    return {"forest": forest} if os.environ.get("QUICK") == "1" else {"forest": forest, "logistic": logistic}


def elec2() -> Iterator[tuple[str, str, Errors]]:
    table = pl.read_parquet(DATA / "elec2" / "elec2.parquet").sort("t")
    count = table.height // BLOCK

    def block(first: int, end: int) -> Rows:
        rows = table[first * BLOCK : end * BLOCK]
        return rows.select(ELEC2).to_numpy(), rows["up"].to_numpy().astype(float)

    after = [block(number, number + 1) for number in range(4, count)]
    for name, make in models(5, None).items():
        for metric in ("roc_auc", "average_precision"):
            yield f"elec2 {name}, trained once", metric, frozen(make(), block(0, 3), block(3, 4), after, metric, 1)
            yield f"elec2 {name}, kept current", metric, current(make, block, count, metric)


def fdh() -> Iterator[tuple[str, str, Errors]]:
    days = [pl.read_parquet(file) for file in sorted((DATA / "fdh_transformed").glob("*.parquet"))]
    used = ("TX_AMOUNT", "TX_DURING", "CUSTOMER_ID_", "TERMINAL_ID_")
    features = [name for name in days[0].columns if name.startswith(used)]

    def between(first: int, end: int) -> Rows:
        rows = pl.concat(days[first:end])
        return rows.select(features).to_numpy(), rows["TX_FRAUD"].to_numpy().astype(float)

    by_day = [between(day, day + 1) for day in range(35, len(days))]
    for name, make in models(1, 12).items():
        for metric in ("roc_auc", "average_precision"):
            yield f"fdh {name}, by day", metric, frozen(make(), between(0, 21), between(28, 35), by_day, metric, 7)


def main() -> int:
    warnings.filterwarnings("ignore")
    if not (DATA / "elec2").is_dir():
        print(json.dumps({"bench": "estimate", "skipped": f"there is no data in {DATA}; name its folder with DATA="}))
        return 0
    missed = 0
    for case, metric, errors in (*fdh(), *elec2()):
        means = {"same": errors.same, "last": errors.last, "covered": [float(each) for each in errors.covered]}
        value, beside = (
            float(np.mean(errors.estimate)),
            {name: round(float(np.mean(m)), 4) for name, m in means.items()},
        )
        goal = beside["same"]
        missed += value >= goal
        told = {
            "bench": "estimate",
            "case": f"{case}: {metric}",
            "value": round(value, 4),
            "unit": "mean absolute error",
        }
        print(
            json.dumps({**told, "goal": goal, "holds": value < goal, "windows": len(errors.same), **beside}), flush=True
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
