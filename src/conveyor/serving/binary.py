"""Tensors as bytes: the protocol's extension for binary data. Little-endian, row-major, nothing in between.

Specification: Triton's "extension_binary_data". A BOOL is one byte, 0 or 1; BYTES are, one by one, a length of 4 bytes
and as many bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conveyor.errors import InputRejected
from conveyor.serving.protocol import InputTensor

HEADER = b"inference-header-content-length"
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}


def read(tensor: InputTensor, count: int) -> list[Any] | NDArray[Any]:
    """The tensor's `count` values; its datatype is a known one. Raises InputRejected."""
    raw = memoryview(tensor.data)
    if tensor.datatype == "BYTES":
        return _texts(tensor.name, raw, count)
    dtype = DTYPES[tensor.datatype]
    if len(raw) != count * dtype.itemsize:
        raise InputRejected(
            f"tensor '{tensor.name}' has shape {tensor.shape} but {len(raw)} bytes",
            hint=f"send {count * dtype.itemsize} bytes: {count} values of datatype {tensor.datatype}, row by row",
        )
    found = np.frombuffer(raw, dtype)
    if tensor.datatype == "BOOL" and found.max(initial=0) > 1:
        raise InputRejected(f"tensor '{tensor.name}' has a byte that is no BOOL", hint="send 0 or 1 for each value")
    return found


def write(output: NDArray[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        texts = [text if isinstance(text, bytes) else str(text).encode() for text in output.ravel().tolist()]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return np.ascontiguousarray(output, DTYPES[datatype]).tobytes()


def _texts(name: str, raw: memoryview, count: int) -> list[str]:
    found: list[str] = []
    at = 0
    while at + 4 <= len(raw) and len(found) < count:
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if at + size > len(raw):
            break
        try:
            found.append(str(raw[at : at + size], "utf-8"))
        except UnicodeDecodeError as error:
            raise InputRejected(f"tensor '{name}': {error}", hint="send text as UTF-8") from None
        at += size
    if at != len(raw) or len(found) != count:
        raise InputRejected(
            f"tensor '{name}' does not hold {count} texts in its {len(raw)} bytes",
            hint="send for each its length in 4 bytes, little-endian, and its bytes",
        )
    return found
