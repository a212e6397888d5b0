"""The simulated transactions are those of the description, the same for the same seed."""

from __future__ import annotations

from datetime import date

import polars as pl

from conveyor.cli.demo.simulator import OBVIOUS, simulate

RAW = {
    "TRANSACTION_ID": pl.Int32,
    "TX_DATETIME": pl.Datetime("ns"),
    "CUSTOMER_ID": pl.Int32,
    "TERMINAL_ID": pl.Int32,
    "TX_AMOUNT": pl.Float64,
    "TX_TIME_SECONDS": pl.Int32,
    "TX_TIME_DAYS": pl.Int32,
    "TX_FRAUD": pl.Int8,
    "TX_FRAUD_SCENARIO": pl.Int8,
}


def test_days_of_transactions() -> None:
    start = date(2018, 4, 1)
    days = list(simulate(20, 3, start, customers=1000, terminals=2000))
    again = list(simulate(5, 3, start, customers=1000, terminals=2000))
    assert all(day.equals(other) for (_, day), (_, other) in zip(days[:5], again, strict=True))
    whole = pl.concat([table for _, table in days])
    assert whole.schema == RAW
    assert [table["TX_DATETIME"].dt.date().unique().to_list() for _, table in days] == [[day] for day, _ in days]
    assert whole["TX_DATETIME"].is_sorted()
    assert whole["TRANSACTION_ID"].to_list() == list(range(whole.height))
    assert 1700 < whole.height / 20 < 2300  # 1,000 customers at a mean of 2 a day
    assert set(whole["TX_FRAUD_SCENARIO"]) == {0, 1, 2, 3}
    assert whole.filter((pl.col("TX_FRAUD") == 1) != (pl.col("TX_FRAUD_SCENARIO") > 0)).is_empty()
    assert whole.filter((pl.col("TX_AMOUNT") > OBVIOUS) & (pl.col("TX_FRAUD") == 0)).is_empty()
    # What shows in the cold start: compromised terminals and customers pile up until their windows are full.
    assert days[-1][1]["TX_FRAUD"].mean() > 3 * days[0][1]["TX_FRAUD"].mean()  # type: ignore[operator]
