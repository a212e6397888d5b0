"""Rules that fit the data seen, with room for what was not seen yet. Pure: facts of columns in, rules out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from conveyor.domain.contract import Rule, RuleKind

FEW = 20
"""A text column with more values than this is not a choice of some."""

ROWS_A_VALUE = 5
"""So many rows for each value must have been seen before the values are taken for all there are."""

MARGIN = Fraction(1, 10)
"""Bounds are wider than the data by this share of their span."""

STEPS = 10
"""Integers that span no more than this are steps of a scale, not amounts: their bounds are those seen."""

_LARGEST = 2**63 - 1


class ColumnKind(StrEnum):
    INTEGER = "integer"
    FLOAT = "float"
    TEXT = "text"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """`type` is a Polars type, "" where a rule cannot say it; `gaps` are nulls and NaNs; `values` if they are few."""

    name: str
    kind: ColumnKind
    type: str
    rows: int
    gaps: int
    nans: int = 0
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None
    unique: bool = False


def rules(facts: tuple[ColumnFacts, ...], *, key: str | None, time: str | None) -> tuple[Rule, ...]:
    """Keys and times grow, so they get no bounds."""
    found: list[Rule] = []
    for column in facts:
        if column.type:
            found.append(Rule(column.name, RuleKind.TYPE, column.type))
        if column.rows and not column.gaps:
            found.append(Rule(column.name, RuleKind.NOT_NULL, True))
        if column.name == key and column.unique:
            found.append(Rule(column.name, RuleKind.UNIQUE, True))
        if column.name in (key, time):
            continue
        if column.values and column.rows >= ROWS_A_VALUE * len(column.values):
            found.append(Rule(column.name, RuleKind.ONE_OF, list(column.values)))
        if not column.nans:  # a NaN is within no bounds
            low, high = bounds(column)
            found += [Rule(column.name, RuleKind.MIN, low)] if low is not None else []
            found += [Rule(column.name, RuleKind.MAX, high)] if high is not None else []
    return tuple(found)


def bounds(column: ColumnFacts) -> tuple[float | None, float | None]:
    """Least and greatest value to allow, rounded outwards; None where the data say too little.

    Values that are all on one side of zero stay there. Of a constant no more is known than its sign.
    """
    numeric = column.kind in (ColumnKind.INTEGER, ColumnKind.FLOAT)
    if not numeric or column.low is None or column.high is None:
        return None, None
    if not (math.isfinite(column.low) and math.isfinite(column.high)):
        return None, None
    low, high = Fraction(column.low), Fraction(column.high)
    span = high - low
    if span == 0:
        return (0 if low >= 0 else None), (0 if high <= 0 else None)
    whole = column.kind is ColumnKind.INTEGER
    if whole and span <= STEPS:
        return _number(low), _number(high)
    step = _step(span, whole)
    least = Fraction(math.floor((low - MARGIN * span) / step)) * step
    most = Fraction(math.ceil((high + MARGIN * span) / step)) * step
    least = max(least, Fraction(0)) if low >= 0 else least
    most = min(most, Fraction(0)) if high <= 0 else most
    return _number(least), _number(most)


def _step(span: Fraction, whole: bool) -> Fraction:
    """The second digit of the span."""
    power = len(str(int(span))) - 2 if span >= 1 else -len(str(int(1 / span))) - 1
    step = Fraction(10) ** power
    return max(step, Fraction(1)) if whole else step


def _number(value: Fraction) -> float | None:
    """As an integer where it is one; None where a configuration file cannot hold it."""
    if value.denominator == 1:
        return int(value) if abs(value) <= _LARGEST else None
    try:
        return float(value)
    except OverflowError:
        return None
