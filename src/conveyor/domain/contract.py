"""Contracts: what rows of a dataset must satisfy, as inline rules. Pure description; `sdk/contracts.py` applies
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RuleKind(StrEnum):
    MIN = "min"
    MAX = "max"
    NOT_NULL = "not_null"
    ONE_OF = "one_of"
    UNIQUE = "unique"
    PATTERN = "pattern"
    MIN_LENGTH = "min_length"
    MAX_LENGTH = "max_length"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand on one column. A row that breaks it is quarantined, but for `type`, which refuses the file."""

    column: str
    kind: RuleKind
    value: Any

    @property
    def name(self) -> str:
        return f"{self.column}:{self.kind}"

    def reason(self, found: object) -> str:
        """Why a row with `found` in this column was refused, for a person."""
        demand = {
            RuleKind.MIN: f"must be at least {self.value}",
            RuleKind.MAX: f"must be at most {self.value}",
            RuleKind.NOT_NULL: "must not be null",
            RuleKind.ONE_OF: f"must be one of {self.value}",
            RuleKind.UNIQUE: "must be unique in its file",
            RuleKind.PATTERN: f"must match {self.value}",
            RuleKind.MIN_LENGTH: f"must have at least {self.value} characters",
            RuleKind.MAX_LENGTH: f"must have at most {self.value} characters",
            RuleKind.TYPE: f"must have the type {self.value}",
        }[self.kind]
        return f"{self.column} = {found!r} {demand}" if found is not None else f"{self.column} {demand}"


def inline_of(rules: Iterable[Rule]) -> dict[str, dict[str, Any]]:
    """Rules in the form of `conveyor.toml`."""
    found: dict[str, dict[str, Any]] = {}
    for rule in rules:
        found.setdefault(rule.column, {})[str(rule.kind)] = rule.value
    return found


def rules_of(inline: Mapping[str, Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The form of `conveyor.toml`, column -> {min, max, ...}, as rules; switches that are off are left out."""
    return tuple(
        Rule(column, RuleKind(kind), value)
        for column, demands in inline.items()
        for kind, value in demands.items()
        if value is not False and value is not None
    )
