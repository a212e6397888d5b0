"""A clause of a filter against values at hand, for what is searched in memory. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from conveyor.domain.track_filter import Clause, Order

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def matches(clause: Clause, value: Any) -> bool:
    """Whether a value meets a clause; what is missing (None) meets IS NULL only."""
    if clause.op == "IS NULL":
        return value is None
    if value is None:
        return False
    if clause.op == "IS NOT NULL":
        return True
    if clause.op in ("IN", "NOT IN"):
        return (value in (clause.value or ())) is (clause.op == "IN")  # type: ignore[operator]
    if clause.op in ("LIKE", "ILIKE"):
        return _like(str(value), str(clause.value), clause.op == "ILIKE")
    return bool(_COMPARE[clause.op](value, clause.value))


def ordered(rows: list[Mapping[str, Any]], orders: list[Order]) -> list[Mapping[str, Any]]:
    """By attributes, what is missing last."""
    for order in reversed(orders):
        has = [row for row in rows if row.get(order.key) is not None]
        lacks = [row for row in rows if row.get(order.key) is None]
        rows = sorted(has, key=lambda row: row[order.key], reverse=not order.ascending) + lacks
    return rows


def _like(value: str, pattern: str, blind: bool) -> bool:
    parts = (".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), value, re.DOTALL | (re.IGNORECASE if blind else 0)) is not None
