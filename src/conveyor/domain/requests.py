"""What clients ask for: one type for CLI, HTTP and Python."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rollback:
    to: int | None = None
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class Retrain:
    reason: str = "a person asked for it"


@dataclass(frozen=True, slots=True)
class Cancel:
    reason: str = "cancelled by a person"
