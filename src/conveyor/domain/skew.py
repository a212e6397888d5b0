"""Value skew: which rows of features break the rules that their dataset has. Arrays in, counts out; pure.

The model server counts with it on every request, so a good row must cost next to nothing: a few rows are looked at as
Python numbers, which for them is faster than arrays, and only what breaks a rule there is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from conveyor.domain.contract import Rule, RuleKind

Floats = npt.NDArray[np.float32]
WHOLE = ("integer", "boolean")
FEW = 4  # rows


def served(rules: Sequence[Rule], features: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that can be checked on features: numbers, one row at a time. `type` says whether they are whole."""
    return tuple(rule for rule in rules if rule.column in features and _told(rule))


def _told(rule: Rule) -> bool:
    match rule.kind:
        case RuleKind.MIN | RuleKind.MAX:
            return _number(rule.value)
        case RuleKind.ONE_OF:
            return bool(rule.value) and all(_number(each) for each in rule.value)
        case RuleKind.NOT_NULL:
            return bool(rule.value)
        case RuleKind.TYPE:
            return _whole(str(rule.value))
    return False


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(type_: str) -> bool:
    return type_ in WHOLE or type_.removeprefix("U").startswith("Int") or type_ == "Boolean"


class Skew:
    """The rules of a model's features, over float32 [rows, features]. A rule's name is that of the contract's."""

    def __init__(self, features: Sequence[str], rules: Sequence[Rule]) -> None:
        self.rules = served(rules, features)
        self._places = {name: place for place, name in enumerate(features)}
        self._low = np.full(len(features), -np.inf, np.float32)
        self._high = np.full(len(features), np.inf, np.float32)
        with np.errstate(over="ignore"):  # what single precision cannot hold is no bound
            for rule in self.rules:
                bounds = {RuleKind.MIN: self._low, RuleKind.MAX: self._high}.get(rule.kind)
                if bounds is not None:
                    bounds[self._places[rule.column]] = rule.value
            self._choices = {
                rule.column: np.array(rule.value, np.float32) for rule in self.rules if rule.kind is RuleKind.ONE_OF
            }
        self._sets = {name: frozenset(values.tolist()) for name, values in self._choices.items()}
        self._checks = tuple(self._check(place) for place in sorted({self._places[r.column] for r in self.rules}))

    def broken(self, rows: Floats) -> dict[str, int]:
        """Rule -> rows that break it, for the rules that some row breaks."""
        if not self._checks or (len(rows) <= FEW and self._good(rows.tolist())):
            return {}
        return self._counted(rows)

    def _check(self, place: int) -> tuple[int, float, float, frozenset[float] | None, bool]:
        """What a good value of a feature is: within bounds, one of the choices, whole."""
        name = next(name for name, at in self._places.items() if at == place)
        choices = self._sets.get(name)
        whole = any(rule.column == name and rule.kind is RuleKind.TYPE for rule in self.rules)
        return place, float(self._low[place]), float(self._high[place]), choices, whole

    def _good(self, rows: list[list[float]]) -> bool:
        """Certainly so when True; a gap is never, whether it is allowed or not."""
        for row in rows:
            for place, low, high, choices, whole in self._checks:
                value = row[place]
                if not low <= value <= high or (whole and not value.is_integer()):
                    return False
                if choices is not None and value not in choices:
                    return False
        return True

    def _counted(self, rows: Floats) -> dict[str, int]:
        """By whole arrays; a rule whose feature has no odd value is not looked at."""
        broken = {
            RuleKind.MIN: (rows < self._low).sum(axis=0).tolist(),
            RuleKind.MAX: (rows > self._high).sum(axis=0).tolist(),
            RuleKind.NOT_NULL: np.isnan(rows).sum(axis=0).tolist(),
        }
        found: dict[str, int] = {}
        for rule in self.rules:
            place = self._places[rule.column]
            counts = broken.get(rule.kind)
            count = counts[place] if counts is not None else self._odd(rule, rows[:, place])
            if count:
                found[rule.name] = count
        return found

    def _odd(self, rule: Rule, column: Floats) -> int:
        """Values that are none of the choices, or not whole. A gap is no value, so it breaks no rule but `not_null`."""
        if len(column) <= FEW:
            choices = self._sets.get(rule.column, frozenset()) if rule.kind is RuleKind.ONE_OF else None
            values = [value for value in column.tolist() if value == value]
            return sum(value not in choices if choices is not None else not value.is_integer() for value in values)
        if rule.kind is RuleKind.ONE_OF:
            odd = ~(column[:, None] == self._choices[rule.column]).any(axis=1)
        else:
            odd = column != np.rint(column)
        return int((odd & ~np.isnan(column)).sum())
