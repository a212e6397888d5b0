"""Contracts applied to frames: which rows break which rule, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from conveyor.domain.contract import Rule, RuleKind, rules_of
from conveyor.domain.project import DataConfig
from conveyor.errors import InputRejected
from conveyor.sdk import functions
from conveyor.sdk.schema import parse_type

FAILURES = {"__row__": pl.UInt32, "__rule__": pl.String, "__reason__": pl.String}
_VALUE = "value"  # what a column is called while it is looked at: polars would read `*` and `^a$` as patterns
_KINDS: dict[str, Callable[[pl.DataType], bool]] = {
    "number": lambda dtype: dtype.is_numeric(),
    "integer": lambda dtype: dtype.is_integer(),
    "float": lambda dtype: dtype.is_float(),
    "datetime": lambda dtype: isinstance(dtype, pl.Datetime | pl.Date),
    "string": lambda dtype: isinstance(dtype, pl.String),
    "boolean": lambda dtype: isinstance(dtype, pl.Boolean),
}


def failures(table: pl.DataFrame, name: str, data: DataConfig) -> pl.DataFrame:
    """One line per row and rule broken: `__row__` (0-based), `__rule__`, `__reason__`.

    A null event time, a null key and the second row of a key break rules that every dataset has.
    """
    own = rules_of(data.rules)
    kept = [rule for rule in structural(data) if rule not in own]
    found = [broken(table, rule, name) for rule in (*kept, *own)]
    if data.contract is not None:
        found.append(by_model(table, data.contract, name))
    return pl.concat([pl.DataFrame(schema=FAILURES), *found])


def structural(data: DataConfig) -> Sequence[Rule]:
    rules = [Rule(data.time, RuleKind.NOT_NULL, True)] if data.time else []
    if data.key:
        rules += [Rule(data.key, RuleKind.NOT_NULL, True), Rule(data.key, RuleKind.UNIQUE, True)]
    return rules


def broken(table: pl.DataFrame, rule: Rule, name: str) -> pl.DataFrame:
    if rule.column not in table.columns:
        raise InputRejected(
            f"{name}: the contract names column {rule.column}, which the file lacks",
            hint=f"The file has {', '.join(table.columns)}.",
        )
    dtype = table.schema[rule.column]
    if rule.kind is RuleKind.TYPE:
        if not has_type(dtype, str(rule.value)):
            raise InputRejected(
                f"{name}: column {rule.column}: expected {rule.value}, found {dtype}",
                hint="Mend the file or the contract.",
            )
        return pl.DataFrame(schema=FAILURES)
    try:
        column = table[rule.column].alias(_VALUE).to_frame()
        rows = column.select(condition(rule, dtype).fill_null(False).arg_true()).to_series()
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputRejected(
            f"{name}: rule {rule.name} = {rule.value!r} does not fit column {rule.column} of type {dtype}",
            hint="Mend the contract in conveyor.toml.",
        ) from error
    reasons = [rule.reason(value) for value in table[rule.column].gather(rows).to_list()]
    return pl.DataFrame({"__row__": rows, "__rule__": [rule.name] * len(rows), "__reason__": reasons}, schema=FAILURES)


def condition(rule: Rule, dtype: pl.DataType) -> pl.Expr:
    """True where the rule is broken. NaN is within no bounds and counts as null; null breaks only `not_null`."""
    column = pl.col(_VALUE)
    nan = column.is_nan() if dtype.is_float() else pl.lit(False)
    if rule.kind is RuleKind.MIN:
        return column.lt(bound(rule.value, dtype)) | nan
    if rule.kind is RuleKind.MAX:
        return column.gt(bound(rule.value, dtype)) | nan
    if rule.kind is RuleKind.NOT_NULL:
        return column.is_null() | nan
    if rule.kind is RuleKind.ONE_OF:
        return ~column.is_in(choices(list(rule.value), dtype))
    if rule.kind is RuleKind.PATTERN:
        return ~column.str.contains(rule.value)
    if rule.kind is RuleKind.MIN_LENGTH:
        return column.str.len_chars().lt(rule.value)
    if rule.kind is RuleKind.MAX_LENGTH:
        return column.str.len_chars().gt(rule.value)
    return column.is_not_null() & ~column.is_first_distinct()


def choices(values: list[Any], dtype: pl.DataType) -> pl.Series | list[Any]:
    """As the column has them: whole numbers are values of a float column too."""
    return pl.Series(values, dtype=dtype, strict=False) if dtype.is_float() else values


def bound(value: Any, dtype: pl.DataType) -> Any:
    """A date or time in a bound is text once it was in the records; a time with a zone is compared in the column's."""
    if not dtype.is_temporal():
        return value
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        return moment
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    if zone is None:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def has_type(dtype: pl.DataType, wanted: str) -> bool:
    return _KINDS[wanted](dtype) if wanted in _KINDS else dtype == parse_type(wanted)


def by_model(table: pl.DataFrame, contract: str, name: str) -> pl.DataFrame:
    """A Pandera model's verdict. Rows that fail are quarantined; what fails as a whole refuses the file."""
    from pandera.errors import SchemaErrors

    model = functions.find(contract)
    if not hasattr(model, "validate"):
        raise InputRejected(f"{contract} is not a Pandera model", hint="Derive it from pandera.polars.DataFrameModel.")
    try:
        model.validate(table, lazy=True)
    except SchemaErrors as errors:
        cases: pl.DataFrame = errors.failure_cases.with_columns(pl.col("failure_case").fill_null("null"))
        whole = cases.filter(pl.col("index").is_null())
        if whole.height:
            what = "; ".join(
                f"{row['column'] or 'file'}: {row['check']} ({row['failure_case']})" for row in whole.to_dicts()
            )
            raise InputRejected(
                f"{name}: the contract {contract} refuses it: {what}", hint="Mend the file."
            ) from errors
        rule = pl.format("{}:{}", pl.col("column"), pl.col("check"))
        reason = pl.format("{} = {} breaks {}", pl.col("column"), pl.col("failure_case"), pl.col("check"))
        return cases.select(
            pl.col("index").cast(pl.UInt32).alias("__row__"), rule.alias("__rule__"), reason.alias("__reason__")
        )
    return pl.DataFrame(schema=FAILURES)
