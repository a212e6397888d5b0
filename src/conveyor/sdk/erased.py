"""Rows of erased subjects, known again by keyed digests: the values themselves are kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from blake3 import blake3

from conveyor.domain.erasure import ErasedKeys

RULE = "erased"


def digest(text: str, salt: str) -> str:
    """BLAKE3 keyed with the dataset's salt (32 bytes in hexadecimal)."""
    return blake3(text.encode(), key=bytes.fromhex(salt)).hexdigest()


def text_of(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """One text for one value, whatever number type it came in: 42 and 42.0 are the same subject."""
    if not dtype.is_float():
        return column.cast(pl.String)
    whole = column.is_finite() & (column == column.round()) & (column.abs() < 2**53)
    return pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))


def rows(table: pl.DataFrame, erased: Sequence[ErasedKeys]) -> pl.DataFrame:
    """`__row__`, `__rule__`, `__reason__` of rows that belong to an erased subject. The reason does not name it."""
    found = [pl.DataFrame(schema={"__row__": pl.UInt32, "__rule__": pl.String, "__reason__": pl.String})]
    for keys in erased:
        if keys.column not in table.columns or table.schema[keys.column].is_nested():
            continue
        column = table[keys.column].alias("value").to_frame()
        texts = column.select(text_of(pl.col("value"), table.schema[keys.column])).to_series()
        known = set(keys.digests)
        hit = [text for text in texts.unique().drop_nulls().to_list() if digest(text, keys.salt) in known]
        numbers = texts.is_in(hit).fill_null(False).arg_true()
        count = len(numbers)
        reason = f"{keys.column} belongs to a subject that was erased"
        columns = {"__row__": numbers, "__rule__": [RULE] * count, "__reason__": [reason] * count}
        found.append(pl.DataFrame(columns, schema=found[0].schema))
    return pl.concat(found)
