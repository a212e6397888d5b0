"""What comes in over HTTP: one payment, or many transactions as JSON columns or NDJSON, by the shop's own names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
from pydantic import BaseModel, Field

from shop import features

NAMES = dict(zip(("transaction_id", "at", "customer_id", "terminal_id", "amount", "fraud"), features.RAW, strict=True))
TYPES = {
    "transaction_id": pl.Int64,
    "customer_id": pl.Int64,
    "terminal_id": pl.Int64,
    "amount": pl.Float64,
    "fraud": pl.Int8,
}
WHOLE = frozenset(NAMES) - {"fraud"}


class Payment(BaseModel):
    transaction_id: int = Field(ge=0)
    customer_id: int = Field(ge=0)
    terminal_id: int = Field(ge=0)
    amount: float = Field(ge=0, allow_inf_nan=False)
    at: datetime

    @property
    def moment(self) -> datetime:
        """UTC without a zone; a time without a zone is taken as UTC."""
        return self.at if self.at.tzinfo is None else self.at.astimezone(UTC).replace(tzinfo=None)

    @property
    def micros(self) -> int:
        return int(self.moment.replace(tzinfo=UTC).timestamp() * 1_000_000)


def table(body: bytes, content_type: str) -> pl.DataFrame:
    """Many transactions; `at` is ISO 8601 or microseconds since the epoch. ValueError: a message for the sender."""
    columns = _columns(body, content_type)
    unknown = sorted(set(columns) - set(NAMES))
    if unknown or "transaction_id" not in columns:
        raise ValueError(f"unknown columns {unknown}" if unknown else "column transaction_id is missing")
    try:
        made = [pl.Series(name, values, dtype=TYPES[name]) for name, values in columns.items() if name != "at"]
        frame = pl.DataFrame([*made, *([_times(columns["at"])] if "at" in columns else [])])
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"a column has the wrong type or length: {error}") from error
    empty = [name for name in frame.columns if name != "fraud" and frame[name].null_count()]
    if empty:
        raise ValueError(f"values missing in {empty}")
    return frame.rename(NAMES, strict=False)


def is_whole(frame: pl.DataFrame) -> bool:
    """Whole transactions, and not labels only."""
    return all(NAMES[name] in frame.columns for name in WHOLE)


def _columns(body: bytes, content_type: str) -> dict[str, list[Any]]:
    if "ndjson" not in content_type:
        columns = json.loads(body)
        if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
            raise ValueError("expected a JSON object of columns, each a list")
        return columns
    rows = [json.loads(line) for line in body.splitlines() if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _times(values: list[Any]) -> pl.Series:
    if values and isinstance(values[0], int):
        return pl.Series("at", values, dtype=pl.Int64).cast(pl.Datetime("us"))
    return (
        pl.Series("at", values, dtype=pl.String)
        .str.to_datetime(time_unit="us", time_zone="UTC")
        .dt.replace_time_zone(None)
    )
