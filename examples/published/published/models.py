"""The four models, each judged by the scores that it would serve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from statistics import fmean
from typing import Any

import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from conveyor.domain import statistics
from conveyor.sdk.served import as_served, as_trained
from published.protocol import LABEL, WEEK, card_precision, features, split

# XGBoost as it was when the tables were made: exact splits, and a start at one half.
MODELS: dict[str, Any] = {
    "logistic": lambda **given: LogisticRegression(random_state=0, **given),
    "tree": lambda **given: DecisionTreeClassifier(random_state=0, **given),
    "forest": lambda **given: RandomForestClassifier(random_state=0, n_jobs=1, **given),
    "xgboost": lambda **given: XGBClassifier(random_state=0, n_jobs=1, tree_method="exact", base_score=0.5, **given),
}


def judge(transactions: pl.DataFrame, model: str, split: dict[str, Any], weeks: dict[str, Any]) -> pl.DataFrame:
    """One row a figure: of the one published split, and means of four weeks, each trained a week after the other."""
    moment = transactions["TX_DATETIME"].min()
    assert isinstance(moment, datetime)
    first = moment.date()
    each = {"split": [judged(transactions, model, split, first)]}
    if weeks:
        each["weeks"] = [judged(transactions, model, weeks, first + n * WEEK) for n in range(4)]
    rows = [
        (table, figure, fmean(one.figures[figure] for one in found), found[0].form, max(one.parity for one in found))
        for table, found in each.items()
        for figure in found[0].figures
    ]
    return pl.DataFrame(rows, schema=["table", "figure", "ours", "form", "parity"], orient="row")


@dataclass(frozen=True)
class Judged:
    figures: dict[str, float]
    form: str
    parity: float


def judged(transactions: pl.DataFrame, model: str, given: dict[str, Any], first: date) -> Judged:
    training, test = split(transactions, first)
    names = features(training)
    pipeline = make_pipeline(StandardScaler(), MODELS[model](**given))
    pipeline.fit(as_trained(training, names), training[LABEL].to_numpy())
    served = as_served(pipeline, test, names)
    truth = test[LABEL].cast(pl.Float64).to_numpy()
    figures = {name: statistics.compute(name, truth, served.scores) for name in ("roc_auc", "average_precision")}
    figures["card_precision_100"] = card_precision(test, served.scores)
    return Judged(figures, served.form, served.parity)
