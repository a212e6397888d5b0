"""The published protocol: train on seven days, wait seven for their labels, test on the seven after."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

WEEK = timedelta(days=7)
LABEL = "TX_FRAUD"
NOT_FEATURES = (
    *("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_TIME_SECONDS", "TX_TIME_DAYS"),
    *(LABEL, "TX_FRAUD_SCENARIO", "day"),
)


def split(transactions: pl.DataFrame, first: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(training, test). From the test go the cards whose fraud is known by then.

    That is: from a fraud on one of the training days on, and otherwise from the day after its label came, a week late.
    """
    rows = transactions.with_columns(pl.col("TX_DATETIME").dt.date().alias("day"))
    training = rows.filter(pl.col("day").is_between(first, first + WEEK, closed="left"))
    begin = first + 2 * WEEK
    test = rows.filter(pl.col("day").is_between(begin, begin + WEEK, closed="left"))
    seen = rows.filter((pl.col("day") >= first) & (pl.col(LABEL) == 1))
    known = seen.group_by("CUSTOMER_ID").agg((pl.col("day").min() + WEEK).alias("known"))
    marked = test.join(known, on="CUSTOMER_ID", how="left", maintain_order="left")
    return training, marked.filter((pl.col("day") <= pl.col("known")).fill_null(True)).drop("known")


def features(rows: pl.DataFrame) -> tuple[str, ...]:
    return tuple(name for name in rows.columns if name not in NOT_FEATURES)


def card_precision(test: pl.DataFrame, scores: npt.NDArray[np.float64], checked: int = 100) -> float:
    """Of the cards that are checked each day, the share that was defrauded that day; a card that was found is not
    checked on later days."""
    cards = (
        test.with_columns(pl.Series("score", scores))
        .group_by("day", "CUSTOMER_ID")
        .agg(pl.col("score").max(), pl.col(LABEL).max())
        .sort("day", "score", "CUSTOMER_ID", descending=[False, True, False])
    )
    found: list[int] = []
    shares = []
    for _, day in cards.group_by("day", maintain_order=True):
        top = day.filter(~pl.col("CUSTOMER_ID").is_in(found)).head(checked)
        hits = top.filter(pl.col(LABEL) == 1)["CUSTOMER_ID"].to_list()
        found += hits
        shares.append(len(hits) / checked)
    return float(np.mean(shares))
