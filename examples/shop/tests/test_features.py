from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from shop import features

START = datetime(2018, 4, 2, 12)  # a Monday


def table(*rows: tuple[int, float, int, int, float, int | None]) -> pl.DataFrame:
    """Rows of (id, days after START, customer, terminal, amount, fraud)."""
    made = [
        (key, START + timedelta(days=day), customer, terminal, amount, fraud)
        for key, day, customer, terminal, amount, fraud in rows
    ]
    return pl.DataFrame(made, schema=list(features.RAW), orient="row", schema_overrides={features.LABEL: pl.Int8})


def test_by_hand() -> None:
    rows = table(
        (1, 0.0, 1, 7, 10.0, 1),  # a fraud at terminal 7, known from day 7 on
        (2, 0.5, 1, 8, 20.0, 0),
        (3, 1.0, 1, 7, 30.0, None),  # exactly a day after the first, which is out of the window (t - 1d, t]
        (4, 7.0, 2, 7, 99.0, 1),  # sees the label of 1, being exactly 7 days old, and not its own
        (5, 8.5, 1, 7, 60.0, 0),  # sees 1 and 3; the label of 3 is not known: no fraud
        (6, 5.5, 2, 9, 5.0, 0),  # a Saturday
    )
    found = features.build(rows.lazy()).collect().sort(features.KEY)
    columns = found.select(
        "CUSTOMER_ID_NB_TX_1DAY_WINDOW",
        "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW",
        "CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW",
        "TERMINAL_ID_NB_TX_1DAY_WINDOW",
        "TERMINAL_ID_RISK_1DAY_WINDOW",
        "TERMINAL_ID_NB_TX_7DAY_WINDOW",
        "TERMINAL_ID_RISK_7DAY_WINDOW",
        "TX_DURING_WEEKEND",
    )
    assert columns.rows() == [
        (1, 10.0, 10.0, 0, 0.0, 0, 0.0, 0),
        (2, 15.0, 15.0, 0, 0.0, 0, 0.0, 0),
        (2, 25.0, 20.0, 0, 0.0, 0, 0.0, 0),
        (1, 99.0, 52.0, 1, 1.0, 1, 1.0, 0),
        (1, 60.0, 30.0, 1, 0.0, 2, 0.5, 0),
        (1, 5.0, 5.0, 0, 0.0, 0, 0.0, 1),
    ]


@pytest.mark.parametrize(("hour", "night"), [(0, 1), (6, 1), (7, 0), (23, 0)])
def test_night_is_up_to_seven(hour: int, night: int) -> None:
    rows = table((1, 0.0, 1, 1, 1.0, 0)).with_columns(pl.lit(START.replace(hour=hour)).alias(features.TIME))
    assert features.build(rows.lazy()).collect()["TX_DURING_NIGHT"].item() == night


def test_a_payment_alone_and_in_a_batch_are_the_same() -> None:
    rows = table(*((i, (i * 37 % 400) / 10, i % 3, i % 4, i * 1.07, i % 5 == 0) for i in range(200)))
    batch = features.build(rows.lazy()).collect()
    for row in rows.sample(40, seed=1).iter_rows(named=True):
        history = rows.filter(pl.col(features.KEY) != row[features.KEY])
        expected = batch.filter(pl.col(features.KEY) == row[features.KEY]).select(features.FEATURES).row(0, named=True)
        assert features.online(history, row) == expected
