from __future__ import annotations

import time

import polars as pl
from sklearn.linear_model import LogisticRegression
from trace_file import traced

import conveyor


def train(payments: pl.DataFrame, columns: list[str], seed: int) -> LogisticRegression:
    with traced("train"):
        conveyor.log_metric("rows", payments.height)
        time.sleep(1)
        table = payments.select(columns).cast(pl.Float32).to_numpy()
        return LogisticRegression(random_state=seed).fit(table, payments["fraud"].to_numpy())
