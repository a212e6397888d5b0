"""The published test protocol's card filter, as a user would write it."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl


def without_known_cards(transactions: pl.LazyFrame, test_from: str, delay_days: int) -> pl.LazyFrame:
    """From `test_from` on, leave out the transactions of cards that a fraud is known of when the day begins.

    A fraud of day d is known from day d + delay on, so a card is left out from the day after that.
    """
    start = datetime.fromisoformat(test_from)
    day = pl.col("TX_DATETIME").dt.truncate("1d")
    caught = (
        transactions.filter(pl.col("TX_FRAUD") == 1)
        .group_by("CUSTOMER_ID")
        .agg((day.min() + timedelta(days=delay_days)).alias("caught"))
    )
    marked = transactions.join(caught, on="CUSTOMER_ID", how="left")
    known = (pl.col("TX_DATETIME") >= start) & (day > pl.col("caught"))
    return marked.filter(~known.fill_null(False)).drop("caught")
