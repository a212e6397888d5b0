"""A file's columns against the dataset's schema: all that is wrong at once; no cast that would lose a value."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from conveyor.domain.project import DataConfig
from conveyor.errors import InputRejected
from conveyor.sdk.schema import parse_type, widens

RESERVED = ("__row__", "__rule__", "__reason__")


def conform(
    table: pl.DataFrame, name: str, data: DataConfig, schema: Mapping[str, str] | None, *, text: bool
) -> pl.DataFrame:
    """The table with the schema's types, its columns in the file's own order (parts are read by name).

    `text` formats carry no types: their values are parsed.
    Without a schema (the first version) the file's own is taken, after the event-time column was parsed.
    """
    reserved = [column for column in table.columns if column in RESERVED]
    if reserved:
        raise InputRejected(f"{name}: the column name {reserved[0]} is reserved", hint="Rename the column.")
    if schema is None:
        return first_version(table, name, data)
    expected = {column: parse_type(dtype) for column, dtype in schema.items()}
    problems = [f"column {c} is missing (expected {t})" for c, t in expected.items() if c not in table.columns]
    problems += [f"column {c} is not in the dataset's schema" for c in table.columns if c not in expected]
    casts = []
    for column in table.columns:
        if column in expected:
            cast, problem = fit(table[column], expected[column], text=text)
            casts.append(cast)
            problems += [f"column {column}: {problem}"] if problem else []
    if problems:
        hint = f"The dataset's columns are {', '.join(expected)}. Mend the file; a changed schema needs a new dataset."
        raise InputRejected(f"{name}: {'; '.join(problems)}", hint=hint)
    return pl.DataFrame(casts)


def first_version(table: pl.DataFrame, name: str, data: DataConfig) -> pl.DataFrame:
    """Columns that conveyor.toml names must be there; the event time must be a datetime, or text that is one."""
    label = data.label.column if data.label else None
    for role, column in (("event-time", data.time), ("key", data.key), ("label", label)):
        if column is not None and column not in table.columns:
            raise InputRejected(
                f"{name}: the {role} column {column} is missing; the file has {', '.join(table.columns)}",
                hint=f"Mend the file, or the name in [data.{data.name}] of conveyor.toml.",
            )
    if data.time is None or isinstance(table.schema[data.time], pl.Datetime | pl.Date):
        return table
    cast, problem = fit(table[data.time], pl.Datetime("us"), text=True)
    if problem:
        raise InputRejected(f"{name}: event-time column {data.time}: {problem}", hint="Write it as ISO 8601.")
    return table.with_columns(cast)


def fit(values: pl.Series, expected: pl.DataType, *, text: bool) -> tuple[pl.Series, str | None]:
    """The values as `expected`, or what is wrong with them. A cast is taken only when it keeps every value."""
    found = values.dtype
    if found == expected:
        return values, None
    if widens(found, expected):
        return values.cast(expected), None
    integers = found.is_integer() and expected.is_integer()
    if not (text or integers):
        return values, f"expected {expected}, found {found}"
    cast = parsed(values, expected) if isinstance(found, pl.String) else plain(values, expected)
    if cast is None:
        return values, f"expected {expected}, found {found}"
    lost = values.is_not_null() & cast.is_null()
    if lost.any():
        row = int(lost.arg_max() or 0)
        return values, f"expected {expected}, found {found} ({values[row]!r} in row {row})"
    return cast, None


def parsed(values: pl.Series, expected: pl.DataType) -> pl.Series | None:
    """Text read as another type; null where it is not one."""
    try:
        if isinstance(expected, pl.Datetime):
            zone = expected.time_zone
            return values.str.to_datetime(time_unit=expected.time_unit, time_zone=zone, strict=False)
        if isinstance(expected, pl.Boolean):
            return values.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        return values.cast(expected, strict=False)
    except pl.exceptions.PolarsError:
        return None


def plain(values: pl.Series, expected: pl.DataType) -> pl.Series | None:
    """Inferred values as another type: narrower integers, numbers as text (codes), other time units."""
    kinds = (values.dtype.is_numeric() and expected.is_numeric(), isinstance(expected, pl.String))
    times = values.dtype.is_temporal() and expected.is_temporal()
    if not (any(kinds) or times) or (values.dtype.is_float() and expected.is_integer()):
        return None
    try:
        return values.cast(expected, strict=False)
    except pl.exceptions.PolarsError:
        return None
