"""The features of a transaction, defined once: training, the screening of a day and a single payment all call `at`.

Every feature of a transaction at time t reads only what is known at t. A customer's windows are (t - w, t], the
transaction itself included. A fraud is reported `DELAY_DAYS` after it happened, so a terminal's windows are
(t - delay - w, t - delay]: no younger label is ever read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[Any]

TIME, KEY, LABEL = "TX_DATETIME", "TRANSACTION_ID", "TX_FRAUD"
DAY = 86_400_000_000
"""In microseconds, the unit of all times here."""
DELAY_DAYS = 7
WINDOWS = (1, 7, 30)
"""Lengths of the windows, in days."""
REACH_DAYS = DELAY_DAYS + max(WINDOWS)
"""How far back the features of a transaction look, in days."""

FEATURES = (
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS for what in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS for what in ("NB_TX", "RISK")),
)
RAW = (KEY, TIME, "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", LABEL)


def build(transactions: pl.LazyFrame) -> pl.LazyFrame:
    """The training table: key, event time, features and label of every transaction. A null label is not known yet."""
    history = transactions.select(RAW).collect()
    return at(history, history).select(KEY, TIME, *FEATURES, LABEL).sort(TIME, KEY).lazy()


def online(history: pl.DataFrame, payment: dict[str, Any]) -> dict[str, float]:
    """The features of one payment; `history` has the customer's and the terminal's rows of the last `REACH_DAYS`."""
    row = pl.DataFrame([{name: payment.get(name) for name in RAW}], schema=_schema(history))
    found = at(pl.concat([history.select(RAW), row]), row).select(FEATURES).row(0, named=True)
    return {name: float(value) for name, value in found.items()}


def at(history: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """`wanted` with its features, from `history`, which includes the rows of `wanted`. Keeps the order of `wanted`."""
    # Sums in whole cents: integers do not depend on what was added before, so one row and a batch agree in every bit.
    paid = Running(history, wanted, "CUSTOMER_ID", (history["TX_AMOUNT"].to_numpy() * 100).round().astype(np.int64))
    reported = Running(history, wanted, "TERMINAL_ID", history[LABEL].fill_null(0).to_numpy().astype(np.int64))
    columns: dict[str, Array] = {}
    for days in WINDOWS:
        count, cents = paid.between(days * DAY, 0)
        columns[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = count
        columns[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = cents / 100 / np.maximum(count, 1)
        count, frauds = reported.between((DELAY_DAYS + days) * DAY, DELAY_DAYS * DAY)
        columns[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = count
        columns[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = frauds / np.maximum(count, 1)
    time = pl.col(TIME).dt
    return wanted.with_columns(
        (time.weekday() >= 6).cast(pl.Int8).alias("TX_DURING_WEEKEND"),
        (time.hour() <= 6).cast(pl.Int8).alias("TX_DURING_NIGHT"),
        *(pl.Series(name, values) for name, values in columns.items()),
    )


class Running:
    """Running count and sum of one value per owner (customer or terminal), read at the wanted rows' times.

    A window is the difference of two such readings, found by binary search: no loop over owners or rows.
    """

    def __init__(self, history: pl.DataFrame, wanted: pl.DataFrame, owner: str, value: Array) -> None:
        ids, codes = np.unique(history[owner].to_numpy(), return_inverse=True)
        times, wanted_times = _micros(history), _micros(wanted)
        start = times.min(initial=2**60) - REACH_DAYS * DAY - 1
        span = times.max(initial=start) - start + 1
        # Owner and time as one sortable number, so that one binary search finds both.
        places = codes * span + (times - start)
        order = np.argsort(places)
        self._places = places[order]
        self._sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(value[order])])
        self._wanted = np.searchsorted(ids, wanted[owner].to_numpy()) * span + (wanted_times - start)

    def between(self, start: int, end: int) -> tuple[Array, Array]:
        """Count and sum over (t - start, t - end] of each wanted row's owner; microseconds."""
        low = np.searchsorted(self._places, self._wanted - start, side="right")
        high = np.searchsorted(self._places, self._wanted - end, side="right")
        return high - low, self._sums[high] - self._sums[low]


def _micros(frame: pl.DataFrame) -> Array:
    return frame[TIME].dt.timestamp("us").to_numpy()


def _schema(history: pl.DataFrame) -> dict[str, Any]:
    return {name: history.schema[name] for name in RAW}


def since(moment: datetime) -> datetime:
    """The oldest event time that the features of a transaction at `moment` can read."""
    return moment - timedelta(days=REACH_DAYS)
