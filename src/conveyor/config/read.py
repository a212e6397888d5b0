"""From TOML tables to frozen dataclasses, by the dataclasses' own type hints: they are the only schema.

A reader never stops at the first problem: it notes it, puts the default (or an empty value) in its place and reads on.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar, cast

from conveyor.config.duration import parse_duration
from conveyor.config.problem import Place, Problem, nearest

T = TypeVar("T")

_WRONG: Any = object()
_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False, tuple: (), dict: {}}
_LARGEST = 2**63 - 1


class Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, at: Place, cause: str) -> None:
        self.problems.append(Problem(at, cause))

    def table(self, type_: type[T], raw: object, at: Place, given: Mapping[str, Any], spelled: Mapping[str, str]) -> T:
        """`raw` as the dataclass `type_`.

        `given` fields are not read from the file; `spelled` maps a field to its key in the file where the two differ.
        """
        if not isinstance(raw, dict):
            self.add(at, f"expected a table, found {found(raw)}")
            raw, silent = {}, True
        else:
            silent = False
        hints = typing.get_type_hints(type_)
        fields = {f.name: f for f in dataclasses.fields(cast(Any, type_)) if f.name not in given}
        keys = {spelled.get(name, name): name for name in fields}
        for key in raw:
            if key not in keys:
                self.add((*at, key), "unknown key" + nearest(key, keys))
        values = dict(given)
        for key, name in keys.items():
            if key in raw:
                value = self.value(hints[name], raw[key], (*at, key))
                if value is not _WRONG:
                    values[name] = value
                    continue
            elif _required(fields[name]) and not silent:
                self.add((*at, key), f"missing; expected {expected(hints[name])}")
            if _required(fields[name]):
                values[name] = _EMPTY[typing.get_origin(hints[name]) or hints[name]]
        return type_(**values)

    def value(self, hint: Any, raw: object, at: Place) -> Any:
        """`raw` as a value of the type `hint`, or `_WRONG` once the problem is noted."""
        hint = _without_none(hint)
        origin = typing.get_origin(hint)
        if dataclasses.is_dataclass(hint):
            return self.table(cast(Any, hint), raw, at, {}, {})
        if origin is tuple:
            return self._list(typing.get_args(hint)[0], raw, at)
        if origin is dict and isinstance(raw, dict):
            item = typing.get_args(hint)[1]
            read = {key: self.value(item, value, (*at, key)) for key, value in raw.items()}
            return {key: value for key, value in read.items() if value is not _WRONG}
        value = _scalar(hint, raw)
        if value is _WRONG:
            self.add(at, f"expected {expected(hint)}, found {found(raw)}")
        return value

    def _list(self, item: Any, raw: object, at: Place) -> Any:
        """A list is good or wrong as a whole; a lone string stands for a list of one."""
        if item is str and isinstance(raw, str):
            raw = [raw]
        if not isinstance(raw, list):
            self.add(at, f"expected {expected(tuple[item, ...])}, found {found(raw)}")
            return _WRONG
        read = [_scalar(item, value) for value in raw]
        for position, value in enumerate(read):
            if value is _WRONG:
                self.add(at, f"item {position + 1}: expected {expected(item)}, found {found(raw[position])}")
        return _WRONG if any(value is _WRONG for value in read) else tuple(read)


def _scalar(hint: Any, raw: object) -> Any:
    if hint is Any:
        return raw if _storable(raw) else _WRONG
    if hint is timedelta:
        duration = parse_duration(raw) if isinstance(raw, str) else None
        return _WRONG if duration is None else duration
    if hint is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw) if abs(raw) <= _LARGEST and math.isfinite(raw) else _WRONG
    if hint is int and isinstance(raw, bool):
        return _WRONG
    return raw if isinstance(hint, type) and isinstance(raw, hint) and _storable(raw) else _WRONG


def _storable(raw: object) -> bool:
    """Whether records and digests can hold it: JSON has no infinities, and its integers end at 64 bits."""
    match raw:
        case dict():
            return all(_storable(value) for value in raw.values())
        case list():
            return all(_storable(value) for value in raw)
        case float():
            return math.isfinite(raw)
        case int():
            return abs(raw) <= _LARGEST
    return True


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _without_none(hint: Any) -> Any:
    """`X | None` is `X`: in a file, nothing is said by leaving the key out."""
    if isinstance(hint, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    return hint


def expected(hint: Any) -> str:
    hint = _without_none(hint)
    if dataclasses.is_dataclass(hint) or typing.get_origin(hint) is dict:
        return "a table"
    if typing.get_origin(hint) is tuple:
        return f"a list, each item {expected(typing.get_args(hint)[0])}"
    words = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    words[timedelta] = 'a duration such as "28d", "6h", "2m" or "0.5s"'
    return words.get(hint, "a value that JSON can hold")


def found(raw: object) -> str:
    match raw:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            return f'the string "{raw if len(raw) <= 40 else raw[:37] + "..."}"'
        case bool():
            return str(raw).lower()
        case int():
            return f"the integer {raw}" if abs(raw) <= _LARGEST else "an integer beyond 64 bits"
        case float():
            return f"the float {raw}"
        case datetime() | date() | time():
            return f"the date or time {raw.isoformat()}"
    return f"a {type(raw).__name__}"
