"""Small models and mistakes, for the tests of training."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from conveyor.sdk.run import Run

FEATURES = ["a", "b", "c"]
ESTIMATORS: dict[str, Any] = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "bare logistic": lambda: LogisticRegression(max_iter=500),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "forest": lambda: RandomForestClassifier(20, random_state=0),
    "scaled forest": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
    "boosting": lambda: make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=10, random_state=0)),
    "histograms": lambda: HistGradientBoostingClassifier(random_state=0),
    "scaled histograms": lambda: make_pipeline(StandardScaler(), HistGradientBoostingClassifier(random_state=0)),
    "imputed": lambda: make_pipeline(SimpleImputer(strategy="median"), RandomForestClassifier(20, random_state=0)),
    "columns": lambda: make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), ["c", "a"]), ("kept", "passthrough", ["b"])]),
        LogisticRegression(),
    ),
    "linear": lambda: make_pipeline(StandardScaler(), LinearRegression()),
    "forest values": lambda: RandomForestRegressor(20, random_state=0),
}


def train(rows: pd.DataFrame, kind: str) -> Any:
    return ESTIMATORS[kind]().fit(rows[FEATURES], rows["y"])


def reversed_features(rows: pl.DataFrame) -> Any:
    return LogisticRegression(max_iter=500).fit(rows.select("c", "b", "a"), rows["y"].to_numpy())


def reports(rows: pl.DataFrame, other: pl.DataFrame, run: Run) -> Any:
    """Says what it was given, and draws from the global generators."""
    run.log_metric("rows", rows.height)
    run.log_metric("first", rows["at"].min().timestamp())  # type: ignore[union-attr]
    run.log_metric("last", rows["at"].max().timestamp())  # type: ignore[union-attr]
    run.log_metric("other_last", other["at"].max().timestamp())  # type: ignore[union-attr]
    run.log_metric("other_labels", other["y"].count())
    run.log_metric("drawn", random.random() + float(np.random.random()))
    return LogisticRegression().fit(rows.select(FEATURES), rows["y"].to_numpy())


def unfitted(rows: pl.DataFrame) -> Any:
    return LogisticRegression()


def nothing(rows: pl.DataFrame) -> None:
    rows.height  # noqa: B018


def nameless(rows: pl.DataFrame) -> Any:
    return LogisticRegression().fit(rows.select(FEATURES).to_numpy(), rows["y"].to_numpy())


def leaky(rows: pl.DataFrame) -> Any:
    return LogisticRegression().fit(rows.select("a", "y"), rows["y"].to_numpy())


def worded(rows: pd.DataFrame) -> Any:
    encoded = make_pipeline(ColumnTransformer([("kept", "passthrough", ["a"])]), LogisticRegression())
    return encoded.fit(rows[["a", "word"]], rows["y"])


def fails(rows: pl.DataFrame) -> Any:
    return 1 / (rows.height - rows.height)
