"""Models of the published split."""

from __future__ import annotations

from typing import Any

import polars as pl
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

NOT_FEATURES = (
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_TIME_SECONDS",
    "TX_TIME_DAYS",
    "TX_FRAUD",
    "TX_FRAUD_SCENARIO",
)


def fit(features: pl.DataFrame, classifier: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), classifier).fit(features.drop(NOT_FEATURES), features["TX_FRAUD"].to_numpy())


def logistic(features: pl.DataFrame, seed: int) -> Pipeline:
    return fit(features, LogisticRegression(random_state=seed))


def forest(features: pl.DataFrame, n_estimators: int, seed: int) -> Pipeline:
    return fit(features, RandomForestClassifier(n_estimators, random_state=seed, n_jobs=2))
