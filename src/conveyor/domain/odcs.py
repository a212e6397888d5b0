"""Contracts as documents of the Open Data Contract Standard (ODCS) v3.1.0, and back. Pure: values in, values out.

Where the standard has no word for a rule (a bound on a column whose type is not said), the rule goes into a custom
quality check with the engine `conveyor`, so that what was exported is imported again as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from conveyor.domain.contract import Rule, RuleKind, rules_of

API_VERSION, KIND = "v3.1.0", "DataContract"
ENGINE, PANDERA = "conveyor", "pandera"
_TEXT = (RuleKind.PATTERN, RuleKind.MIN_LENGTH, RuleKind.MAX_LENGTH)
OPTIONS = {
    RuleKind.MIN: "minimum",
    RuleKind.MAX: "maximum",
    RuleKind.PATTERN: "pattern",
    RuleKind.MIN_LENGTH: "minLength",
    RuleKind.MAX_LENGTH: "maxLength",
}
KINDS = {
    "number": "number",
    "integer": "integer",
    "float": "number",
    "datetime": "timestamp",
    "string": "string",
    "boolean": "boolean",
}
"""Types of rules that are not those of Polars, and the standard's word for each."""
TYPES = {
    **{f"{sign}Int{bits}": "integer" for sign in ("", "U") for bits in (8, 16, 32, 64, 128)},
    "Float32": "number",
    "Float64": "number",
    "Decimal": "number",
    "String": "string",
    "Categorical": "string",
    "Enum": "string",
    "Boolean": "boolean",
    "Date": "date",
    "Datetime": "timestamp",
    "Time": "time",
    "Duration": "",
    "Binary": "",
    "List": "array",
    "Array": "array",
    "Struct": "object",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """All that a dataset demands of its rows. `schema`: column -> Polars type, where a version is known."""

    project: str
    name: str
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: str | None = None
    time: str | None = None
    model: str | None = None  # of Pandera, "module:Class"
    schema: dict[str, str] = field(default_factory=dict)
    version: int | None = None


def document(contract: Contract) -> dict[str, Any]:
    """The contract as an ODCS document, in the order in which people read it."""
    columns = list(dict.fromkeys([*contract.schema, *contract.rules, *filter(None, (contract.key, contract.time))]))
    table: dict[str, Any] = {"name": contract.name, "logicalType": "object", "physicalType": "table"}
    if contract.time:
        table["customProperties"] = [{"property": "eventTime", "value": contract.time}]
    table["properties"] = [_property(contract, column) for column in columns]
    if contract.model:
        table["quality"] = [{"type": "custom", "engine": PANDERA, "implementation": contract.model}]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "id": f"{contract.project}/{contract.name}",
        "name": contract.name,
        "version": str(contract.version or 0),
        "status": "active",
        "dataProduct": contract.project,
        "schema": [table],
    }


def logical(type_: str) -> str:
    """The standard's word for a type; "" where it has none."""
    return KINDS.get(type_) or TYPES.get(type_.partition("(")[0], "")


def _property(contract: Contract, column: str) -> dict[str, Any]:
    rules = rules_of({column: contract.rules.get(column, {})})
    demands = {rule.kind: rule.value for rule in rules}
    type_ = str(demands.get(RuleKind.TYPE, contract.schema.get(column, "")))
    word = logical(type_)
    said: dict[str, Any] = {"name": column}
    said |= {"logicalType": word} if word else {}
    said |= {"physicalType": type_} if type_ else {}
    said |= {"primaryKey": True, "primaryKeyPosition": 1} if column == contract.key else {}
    said |= {"required": True} if RuleKind.NOT_NULL in demands else {}
    said |= {"unique": True} if RuleKind.UNIQUE in demands else {}
    options = {OPTIONS[rule.kind]: _plain(rule.value) for rule in rules if _optional(rule, word)}
    said |= {"logicalTypeOptions": options} if options else {}
    quality = list(_quality(rules, word))
    said |= {"quality": quality} if quality else {}
    return said


def _optional(rule: Rule, word: str) -> bool:
    """Whether the standard has an option of the logical type for the rule."""
    if rule.kind in (RuleKind.MIN, RuleKind.MAX):
        moment = isinstance(rule.value, str | date)
        return word in ("date", "timestamp") if moment else word in ("number", "integer")
    return rule.kind in _TEXT and word == "string"


def _quality(rules: tuple[Rule, ...], word: str) -> Iterator[dict[str, Any]]:
    for rule in rules:
        if rule.kind is RuleKind.ONE_OF:
            values = [_plain(each) for each in rule.value]
            yield {"type": "library", "metric": "invalidValues", "arguments": {"validValues": values}, "mustBe": 0}
        elif rule.kind in OPTIONS and not _optional(rule, word):
            how = {"rule": str(rule.kind), "value": _plain(rule.value)}
            yield {"type": "custom", "engine": ENGINE, "implementation": how}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
