"""Facts of a table's columns, for rules that fit it: one streaming pass, and one more over columns of few values."""

from __future__ import annotations

from typing import Any

import polars as pl

from conveyor.domain import inference
from conveyor.domain.contract import Rule
from conveyor.domain.inference import ColumnFacts, ColumnKind
from conveyor.errors import InputRejected
from conveyor.sdk.schema import parse_type


def infer(frame: pl.LazyFrame, *, key: str | None = None, time: str | None = None) -> tuple[Rule, ...]:
    """Rules that every row of the frame satisfies."""
    return inference.rules(facts(frame, key), key=key, time=time)


def facts(frame: pl.LazyFrame, key: str | None = None) -> tuple[ColumnFacts, ...]:
    schema = frame.collect_schema()
    if key is not None and key not in schema:
        raise InputRejected(f"the key {key} is not a column", hint=f"The columns are {', '.join(schema.names())}.")
    asked: list[pl.Expr] = [pl.len().alias("rows")]
    for place, (name, dtype) in enumerate(schema.items()):
        asked += _asked(place, pl.nth(place), dtype, unique=name == key)
    found = frame.select(asked).collect(engine="streaming").row(0, named=True)
    values = {
        name: _values(frame, place)
        for place, (name, dtype) in enumerate(schema.items())
        if isinstance(dtype, pl.String) and found[f"{place}.distinct"] <= 2 * inference.FEW
    }
    return tuple(
        _facts(name, dtype, found["rows"], {word: found.get(f"{place}.{word}") for word in _WORDS}, values.get(name))
        for place, (name, dtype) in enumerate(schema.items())
    )


_WORDS = ("nulls", "nans", "low", "high", "unique")


def _asked(place: int, column: pl.Expr, dtype: pl.DataType, *, unique: bool) -> list[pl.Expr]:
    asked = [column.null_count().alias(f"{place}.nulls")]
    if dtype.is_float():
        asked.append(column.is_nan().sum().alias(f"{place}.nans"))
    if dtype.is_integer() or dtype.is_float():
        asked += [column.min().alias(f"{place}.low"), column.max().alias(f"{place}.high")]
    if isinstance(dtype, pl.String):
        asked.append(column.approx_n_unique().alias(f"{place}.distinct"))
    if unique and not dtype.is_nested():
        asked.append((column.drop_nulls().n_unique() == column.count()).alias(f"{place}.unique"))
    return asked


def _values(frame: pl.LazyFrame, place: int) -> tuple[str, ...] | None:
    """All values of a text column, sorted; None if they are many."""
    distinct = pl.nth(place).drop_nulls().unique().alias("value")  # by place: `*` and `^a$` are names too
    found = frame.select(distinct).head(inference.FEW + 1).collect(engine="streaming")
    return tuple(sorted(found["value"].to_list())) if 0 < found.height <= inference.FEW else None


def _facts(
    name: str, dtype: pl.DataType, rows: int, found: dict[str, Any], values: tuple[str, ...] | None
) -> ColumnFacts:
    kind = ColumnKind.OTHER
    if dtype.is_integer():
        kind = ColumnKind.INTEGER
    elif dtype.is_float():
        kind = ColumnKind.FLOAT
    elif isinstance(dtype, pl.String):
        kind = ColumnKind.TEXT
    nans = found["nans"] or 0
    return ColumnFacts(
        name,
        kind,
        _type(dtype),
        rows,
        found["nulls"] + nans,
        nans,
        found["low"],
        found["high"],
        values,
        bool(found["unique"]),
    )


def _type(dtype: pl.DataType) -> str:
    """As a rule says it; "" for a column of nulls alone, and for what cannot be read back."""
    text = str(dtype)
    try:
        return text if parse_type(text) == dtype and not isinstance(dtype, pl.Null) else ""
    except InputRejected:
        return ""
