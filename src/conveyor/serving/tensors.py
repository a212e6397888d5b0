"""Decoding one tensor's data, by its datatype: JSON, flat or nested by one level, or bytes; row-major."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from numpy.typing import NDArray

from conveyor.errors import InputRejected
from conveyor.serving import binary
from conveyor.serving.protocol import InputTensor

Values = list[Any] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Reader:
    flat: msgspec.json.Decoder[Any]
    nested: msgspec.json.Decoder[Any]


def _reader(type_: Any) -> _Reader:
    return _Reader(msgspec.json.Decoder(list[type_]), msgspec.json.Decoder(list[list[type_]]))


def _integer(bits: int, signed: bool) -> Any:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if high >= 2**63:  # msgspec's bounds are themselves 64 bits signed
        return Annotated[int, msgspec.Meta(ge=low)]
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


NUMBERS: dict[str, _Reader] = {
    "BOOL": _reader(bool),
    **{f"UINT{bits}": _reader(_integer(bits, signed=False)) for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": _reader(_integer(bits, signed=True)) for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": _reader(float) for bits in (16, 32, 64)},
}
ANY: dict[str, _Reader] = {**NUMBERS, "BYTES": _reader(str)}


def values(tensor: InputTensor, readers: dict[str, _Reader], rows: int, width: int) -> Values:
    """The tensor's `rows * width` values, row-major. Raises InputRejected, naming the tensor and what is wrong."""
    reader = readers.get(tensor.datatype)
    if reader is None:
        known = ANY if tensor.datatype not in ANY else readers
        raise InputRejected(
            f"tensor '{tensor.name}' has datatype '{tensor.datatype}'", hint=f"send one of {', '.join(known)}"
        )
    if tensor.parameters is not None and tensor.binary:
        return binary.read(tensor, rows * width)
    raw = memoryview(tensor.data)
    if not raw:
        raise InputRejected(f"tensor '{tensor.name}' has no data", hint='send its values as JSON in "data"')
    try:
        found = _flatten(tensor, reader.nested.decode(raw), width) if _nested(raw) else reader.flat.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputRejected(
            f"tensor '{tensor.name}' of datatype {tensor.datatype}: {error}",
            hint="every value must be given and have the tensor's datatype",
        ) from None
    if len(found) != rows * width:
        raise InputRejected(
            f"tensor '{tensor.name}' has shape {tensor.shape} but {len(found)} values",
            hint=f"send {rows * width} values, row by row",
        )
    return found


def _nested(raw: memoryview) -> bool:
    for byte in raw[1:64]:  # white space between brackets is rare, more than 62 of it rarer
        if byte not in b" \t\r\n":
            return byte == 0x5B
    return False


def _flatten(tensor: InputTensor, nested: list[list[Any]], width: int) -> list[Any]:
    found: list[Any] = []
    for number, row in enumerate(nested):
        if len(row) != width:
            raise InputRejected(
                f"tensor '{tensor.name}': row {number} has {len(row)} values, its shape says {width}",
                hint="make shape and data agree",
            )
        found.extend(row)
    return found
