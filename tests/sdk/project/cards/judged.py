"""A metric and behavioural tests of a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from conveyor.sdk import behaviour


def precision_at_100(rows: pl.DataFrame, truth: Any, scores: Any) -> float:
    return float(truth[np.argsort(-scores)[:100]].mean())


def check_the_clock_does_not_matter(predict: behaviour.Predict, rows: pl.DataFrame) -> behaviour.Tried:
    return behaviour.invariance(predict, rows, pl.lit(None).alias("at"))


def check_more_of_b_is_not_safer(predict: behaviour.Predict, rows: pl.DataFrame) -> behaviour.Tried:
    return behaviour.direction(predict, rows, pl.col("b") + 1, up=True, tolerance=1e-6)


def check_plain_cases(predict: behaviour.Predict, rows: pl.DataFrame) -> behaviour.Tried:
    return behaviour.minimum(predict, rows.filter(pl.col("a") > 250), above=0.5)


def check_backwards(predict: behaviour.Predict, rows: pl.DataFrame) -> behaviour.Tried:
    return behaviour.direction(predict, rows, pl.col("a") + 50, up=False)
