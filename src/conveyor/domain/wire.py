"""JSON and MessagePack forms of the domain's dataclasses: one dataclass per concept, converted at the edge only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """Canonical JSON: keys sorted, so that equal values have equal bytes and equal digests."""
    return msgspec.json.encode(value, order="deterministic")


def from_json(raw: bytes | str, type_: type[T]) -> T:
    return msgspec.json.decode(raw, type=type_, strict=False)


def to_builtins(value: Any) -> Any:
    return msgspec.to_builtins(value)


def from_builtins(value: Any, type_: type[T]) -> T:
    return msgspec.convert(value, type_, strict=False)
