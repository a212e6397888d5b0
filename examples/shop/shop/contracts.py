"""What the rows of a day's file must satisfy. A row that does not goes to quarantine; the rest of the file is taken."""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl


class Transactions(pa.DataFrameModel):
    TRANSACTION_ID: pl.Int64 = pa.Field(ge=0, nullable=False, coerce=True)
    TX_DATETIME: Annotated[pl.Datetime, "us", None] = pa.Field(nullable=False, coerce=True)
    CUSTOMER_ID: pl.Int64 = pa.Field(ge=0, nullable=False, coerce=True)
    TERMINAL_ID: pl.Int64 = pa.Field(ge=0, nullable=False, coerce=True)
    TX_AMOUNT: pl.Float64 = pa.Field(ge=0, nullable=False, coerce=True)
    TX_FRAUD: pl.Int8 = pa.Field(isin=[0, 1], nullable=True, coerce=True)
