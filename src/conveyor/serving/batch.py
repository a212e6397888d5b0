"""From a request's tensors to what the model is fed and what the log records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conveyor.domain.model import Signature
from conveyor.errors import InputRejected
from conveyor.serving import tensors
from conveyor.serving.protocol import InputTensor


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

    def _matrix(self, tensor: InputTensor) -> NDArray[np.float32]:
        shape = tensor.shape
        if len(shape) != 2 or shape[1] != self._width or shape[0] < 1:
            raise InputRejected(
                f"tensor '{tensor.name}' has shape {shape}, the model takes [-1, {self._width}]",
                hint=f"send at least one row, each with the features {_listing(self._features)} in this order",
            )
        return self._numbers(tensors.values(tensor, tensors.NUMBERS, shape[0], self._width), shape[0])

    def _columns(self, by_name: dict[str, InputTensor]) -> NDArray[np.float32]:
        missing = [name for name in self._features if name not in by_name]
        if missing:
            raise InputRejected(
                f"{'feature' if len(missing) == 1 else 'features'} {_listing(missing)} not in the request",
                hint=f"send one tensor for each feature, or all as one of shape [-1, {self._width}]"
                f" named {_listing(sorted(self._matrix_names))}",
            )
        rows = _rows(by_name[self._features[0]])
        columns = [
            tensors.values(by_name[name], tensors.NUMBERS, _rows(by_name[name], rows), 1) for name in self._features
        ]
        return self._numbers([value for row in zip(*columns, strict=True) for value in row], rows)

    def _numbers(self, found: list[Any], rows: int) -> NDArray[np.float32]:
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
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the features are {_listing(self._features)}"
            raise InputRejected(f"the model takes no tensor '{name}'", hint=hint)
        return by_name

    def _keys(self, by_name: dict[str, InputTensor], rows: int) -> tuple[str, ...]:
        tensor = by_name.get(self._signature.key or "")
        if tensor is None:
            return ()
        return tuple(map(str, tensors.values(tensor, tensors.ANY, _rows(tensor, rows), 1)))

    def _times(self, by_name: dict[str, InputTensor], rows: int) -> tuple[int, ...]:
        tensor = by_name.get(self._signature.time or "")
        if tensor is None:
            return ()
        if tensor.datatype != "INT64":
            raise InputRejected(
                f"tensor '{tensor.name}' is the event time and has datatype '{tensor.datatype}'",
                hint="send INT64 microseconds since the epoch, UTC",
            )
        return tuple(tensors.values(tensor, tensors.NUMBERS, _rows(tensor, rows), 1))


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
