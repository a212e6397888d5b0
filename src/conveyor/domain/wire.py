"""JSON and MessagePack forms of the domain's dataclasses: one dataclass per concept, converted at the edge only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from conveyor.domain.secret import Secret

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """Canonical JSON: keys sorted, so that equal values have equal bytes and equal digests."""
    return msgspec.json.encode(value, order="deterministic", enc_hook=_redacted)


def from_json(raw: bytes | str, type_: type[T]) -> T:
    return msgspec.json.decode(raw, type=type_, strict=False)


def to_builtins(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_redacted)


def from_builtins(value: Any, type_: type[T]) -> T:
    return msgspec.convert(value, type_, strict=False)


def _redacted(value: Any) -> str:
    if isinstance(value, Secret):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
