"""Schemas as text: column -> polars dtype, as stored with a dataset version."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import polars as pl

from conveyor.errors import InputRejected


def describe(schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in schema.items()}


def parse_type(text: str) -> pl.DataType:
    """The dtype that `str(dtype)` came from, as `Datetime(time_unit='ns', time_zone=None)`. Never evaluated."""
    try:
        return _build(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, AttributeError) as error:
        raise InputRejected(
            f"{text!r} is not a column type", hint="Use a polars type, such as Int64 or String."
        ) from error


def _build(node: ast.expr) -> pl.DataType:
    call = node if isinstance(node, ast.Call) else None
    name = call.func if call else node
    if not isinstance(name, ast.Name):
        raise ValueError(ast.dump(node))
    kind = getattr(pl, name.id)
    if not (isinstance(kind, type) and issubclass(kind, pl.DataType)):
        raise TypeError(name.id)
    if call is None:
        return kind()
    return kind(*[_value(one) for one in call.args], **{str(k.arg): _value(k.value) for k in call.keywords})


def _value(node: ast.expr) -> object:
    """An argument of a dtype: another dtype (`List(Int8)`) or a literal."""
    return _build(node) if isinstance(node, ast.Name | ast.Call) else ast.literal_eval(node)


def widens(found: pl.DataType, expected: pl.DataType) -> bool:
    """Whether every value of `found` is one of `expected`, so that a cast loses nothing."""
    if found == expected or isinstance(found, pl.Null):
        return True
    if found.is_integer() and expected.is_integer():
        return _range(found)[0] >= _range(expected)[0] and _range(found)[1] <= _range(expected)[1]
    if found.is_integer() and expected.is_float():
        exact = 2**24 if isinstance(expected, pl.Float32) else 2**53
        return -exact <= _range(found)[0] and _range(found)[1] <= exact
    if isinstance(found, pl.Float32) and isinstance(expected, pl.Float64):
        return True
    if isinstance(found, pl.Datetime) and isinstance(expected, pl.Datetime):
        units = ("ms", "us", "ns")
        return found.time_zone == expected.time_zone and units.index(found.time_unit) <= units.index(expected.time_unit)
    return isinstance(found, pl.Categorical | pl.Enum) and isinstance(expected, pl.String)


def _range(dtype: pl.DataType) -> tuple[int, int]:
    bits = int("".join(filter(str.isdigit, str(dtype))))
    return (0, 2**bits - 1) if str(dtype).startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
