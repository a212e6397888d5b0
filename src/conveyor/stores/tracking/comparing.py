"""A clause of a filter as a condition of SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.sql.functions import FunctionElement

from conveyor.stores.tracking.schema import SHORT


def compared(column: Any, op: str, value: Any) -> ColumnElement[bool]:
    """`column op value`. LIKE minds the case, ILIKE does not, on every database."""
    match op:
        case "=":
            found = column == value
        case "!=":
            found = column != value
        case ">":
            found = column > value
        case ">=":
            found = column >= value
        case "<":
            found = column < value
        case "<=":
            found = column <= value
        case "IN":
            found = column.in_(value)
        case "NOT IN":
            found = column.not_in(value)
        case "LIKE":
            found = column.like(value)
        case _:
            found = func.lower(column).like(func.lower(value))
    return found  # type: ignore[no-any-return]


def text_is(column: Any, value: str) -> tuple[ColumnElement[bool], ...]:
    """Equality by the index over the first characters, and then over all of them."""
    short: FunctionElement[str] = func.substr(column, 1, SHORT)
    return short == value[:SHORT], column == value
