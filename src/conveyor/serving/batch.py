"""From a request's tensors to what the model is fed and what the log records."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conveyor.domain.model import Signature
from conveyor.errors import InputRejected
from conveyor.serving import tensors
from conveyor.serving.protocol import InputTensor

Value = float | int | bool | str | None  # of a row in JSON
_NUMERIC = frozenset({float, int, bool})


@dataclass(frozen=True, slots=True)
class Batch:
    features: NDArray[np.float32]  # [rows, features], C order
    keys: tuple[str, ...] = ()
    times: tuple[int, ...] = ()


class BatchReader:
    """Reads requests for one signature: the whole matrix as one tensor, or one tensor a feature, in any order."""

    def __init__(self, signature: Signature, matrix_names: frozenset[str]) -> None:
        self._signature = signature
        self._features = signature.features
        self._width = len(signature.features)
        self._matrix_names = matrix_names - set(signature.features)
        self._extras = {name for name in (signature.key, signature.time) if name}

    def read(self, inputs: list[InputTensor]) -> Batch:
        """Raises InputRejected for anything that the model could not score as the client meant it."""
        if len(inputs) == 1 and inputs[0].name in self._matrix_names:
            return Batch(self._matrix(inputs[0]))
        by_name = self._by_name(inputs)
        matrix = next((tensor for tensor in inputs if tensor.name in self._matrix_names), None)
        features = self._matrix(matrix) if matrix is not None else self._columns(by_name)
        rows = len(features)
        return Batch(features, self._keys(by_name, rows), self._times(by_name, rows))

    def table(self, columns: Mapping[str, Sequence[Value]]) -> Batch:
        """Reads columns by name, in any order. Raises InputRejected."""
        self._complete(columns, f"send a column for each of {_listing(self._features)}")
        known = self._extras | set(self._features)
        for name in columns:
            if name not in known:
                raise self._unknown("column", name, known)
        rows = len(columns[self._features[0]])
        for name, values in columns.items():
            if len(values) != rows or not rows:
                raise InputRejected(f"column '{name}' has {len(values)} rows, others {rows}", hint="send a row or more")
        features = self._numbers(_stacked([self._column(name, columns[name]) for name in self._features]), rows)
        key, time = self._signature.key, self._signature.time
        keys = tuple(_key(row, value) for row, value in enumerate(columns.get(key or "", ())))
        times = tuple(_time(row, value) for row, value in enumerate(columns.get(time or "", ())))
        return Batch(features, keys, times)

    def matrix(self, rows: Sequence[Sequence[Value]]) -> Batch:
        """Reads rows, each with the features in the model's order. Raises InputRejected."""
        for number, row in enumerate(rows):
            if len(row) != self._width:
                raise InputRejected(
                    f"row {number} has {len(row)} values, the model takes {self._width}",
                    hint=f"send in each row {_listing(self._features)}, in this order, or name the columns",
                )
        if not rows:
            raise InputRejected("no rows in the request", hint="send at least one")
        return self.table(dict(zip(self._features, zip(*rows, strict=True), strict=True)))

    def _column(self, name: str, values: Sequence[Value]) -> NDArray[np.float32]:
        for row, value in enumerate(values):
            if type(value) not in _NUMERIC:
                found = "is missing" if value is None else f"is the text '{str(value)[:40]}'"
                raise InputRejected(f"feature '{name}' of row {row} {found}", hint="send a number")
        try:
            with np.errstate(over="ignore"):
                return np.asarray(values, np.float64).astype(np.float32)
        except OverflowError:  # whole numbers in JSON have no bound
            raise InputRejected(
                f"feature '{name}' has a number of more than 308 digits", hint="send values between -3.4e38 and 3.4e38"
            ) from None

    def _matrix(self, tensor: InputTensor) -> NDArray[np.float32]:
        shape = tensor.shape
        if len(shape) != 2 or shape[1] != self._width or shape[0] < 1:
            raise InputRejected(
                f"tensor '{tensor.name}' has shape {shape}, the model takes [-1, {self._width}]",
                hint=f"send at least one row, each with the features {_listing(self._features)} in this order",
            )
        return self._numbers(tensors.values(tensor, tensors.NUMBERS, shape[0], self._width), shape[0])

    def _columns(self, by_name: dict[str, InputTensor]) -> NDArray[np.float32]:
        self._complete(
            by_name,
            f"send one tensor for each feature, or all as one of shape [-1, {self._width}]"
            f" named {_listing(sorted(self._matrix_names))}",
        )
        rows = _rows(by_name[self._features[0]])
        columns = [
            tensors.values(by_name[name], tensors.NUMBERS, _rows(by_name[name], rows), 1) for name in self._features
        ]
        if isinstance(columns[0], np.ndarray):
            return self._numbers(_stacked(columns), rows)
        return self._numbers([value for row in zip(*columns, strict=True) for value in row], rows)

    def _numbers(self, found: tensors.Values, rows: int) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            array = np.array(found, dtype=np.float32).reshape(rows, self._width)
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise InputRejected(
                f"feature '{self._features[column]}' of row {row} is not a finite 32-bit number",
                hint="send values between -3.4e38 and 3.4e38; NaN and Infinity are not scored",
            )
        return array

    def _by_name(self, inputs: list[InputTensor]) -> dict[str, InputTensor]:
        by_name = {tensor.name: tensor for tensor in inputs}
        if not inputs or len(by_name) < len(inputs):
            raise InputRejected("no tensor, or two of one name", hint="send each tensor once")
        whole = not self._matrix_names.isdisjoint(by_name)
        known = self._extras | self._matrix_names | (set() if whole else set(self._features))
        for name in by_name:
            if name in known:
                continue
            if name in self._features:
                raise InputRejected(
                    f"feature '{name}' beside a tensor with all features", hint="send the one or the other"
                )
            raise self._unknown("tensor", name, known)
        return by_name

    def _complete(self, given: Container[str], hint: str) -> None:
        missing = [name for name in self._features if name not in given]
        if missing:
            noun = "feature" if len(missing) == 1 else "features"
            raise InputRejected(f"{noun} {_listing(missing)} not in the request", hint=hint)

    def _unknown(self, noun: str, name: str, known: Collection[str]) -> InputRejected:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"the features are {_listing(self._features)}"
        return InputRejected(f"the model takes no {noun} '{name}'", hint=hint)

    def _keys(self, by_name: dict[str, InputTensor], rows: int) -> tuple[str, ...]:
        tensor = by_name.get(self._signature.key or "")
        if tensor is None:
            return ()
        return tuple(map(str, _listed(tensors.values(tensor, tensors.ANY, _rows(tensor, rows), 1))))

    def _times(self, by_name: dict[str, InputTensor], rows: int) -> tuple[int, ...]:
        tensor = by_name.get(self._signature.time or "")
        if tensor is None:
            return ()
        if tensor.datatype != "INT64":
            raise InputRejected(
                f"tensor '{tensor.name}' is the event time and has datatype '{tensor.datatype}'",
                hint="send INT64 microseconds since the epoch, UTC",
            )
        return tuple(_listed(tensors.values(tensor, tensors.NUMBERS, _rows(tensor, rows), 1)))


def _stacked(columns: Sequence[tensors.Values]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.column_stack([np.asarray(column, np.float32) for column in columns])


def _key(row: int, value: Value) -> str:
    if value is None:
        raise InputRejected(f"the key of row {row} is missing", hint="send one for each row, or leave the column out")
    return str(value)


def _time(row: int, value: Value) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise InputRejected(
            f"the event time of row {row} is {str(value)[:40]!r}",
            hint="send whole microseconds since the epoch, UTC, or leave the column out",
        )
    return value


def _listed(values: tensors.Values) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _rows(tensor: InputTensor, expected: int | None = None) -> int:
    """The rows of a one-column tensor, [n] or [n, 1]."""
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[0] < 1 or (len(shape) == 2 and shape[1] != 1):
        raise InputRejected(f"tensor '{tensor.name}' has shape {shape}", hint="send [rows] or [rows, 1], rows >= 1")
    if expected is not None and shape[0] != expected:
        raise InputRejected(
            f"tensor '{tensor.name}' has {shape[0]} rows, others have {expected}", hint="send as many rows in each"
        )
    return shape[0]


def _listing(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
