"""ODCS documents of others, as inline rules; what no rule can say is said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from conveyor.domain.contract import Rule, RuleKind
from conveyor.domain.odcs import API_VERSION, ENGINE, KIND, KINDS, OPTIONS, PANDERA, TYPES
from conveyor.errors import InputRejected

_TOLD = frozenset(("id", "version", "status", "name", "kind", "apiVersion", "schema", "dataProduct"))
_SCHEMA = frozenset(("name", "logicalType", "physicalType", "properties", "quality", "customProperties"))
_PROPERTY = frozenset(
    ("name", "logicalType", "physicalType", "required", "unique", "primaryKey", "primaryKeyPosition",
     "logicalTypeOptions", "quality")
)  # fmt: skip
_RULES = {word: kind for kind, word in OPTIONS.items()}
_LOGICAL = {"date": "datetime", "timestamp": "datetime"} | {
    word: word for word in ("number", "integer", "string", "boolean")
}


@dataclass(frozen=True, slots=True)
class Imported:
    """One schema of a document as a dataset. `unsaid` names what no rule says, each with its place."""

    name: str
    rules: tuple[Rule, ...]
    key: str | None = None
    time: str | None = None
    model: str | None = None
    unsaid: tuple[str, ...] = ()


class _Table:
    """What was read of one schema so far."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.keys: list[str] = []
        self.time: str | None = None
        self.model: str | None = None
        self.unsaid: list[str] = []


def read(document: object) -> tuple[Imported, ...]:
    """A dataset for every schema. Raises InputRejected for what is no contract of this version of the standard."""
    top = _need(document, Mapping, "the document")
    if top.get("kind") != KIND:
        raise InputRejected(
            f"this is no data contract: its kind is {top.get('kind')!r}, not {KIND!r}",
            hint="Give a document of the Open Data Contract Standard.",
        )
    if top.get("apiVersion") != API_VERSION:
        raise InputRejected(
            f"the contract is written in {top.get('apiVersion')!r} of the standard; {API_VERSION} is read here",
            hint="Convert it, or write it anew with `conveyor data contract export`.",
        )
    schemas = _need(top.get("schema"), list, "schema")
    if not schemas:
        raise InputRejected("the contract has no schema", hint="It says nothing about columns.")
    left = tuple(f"{key}: says nothing of rows" for key in top if key not in _TOLD)
    found = tuple(_table(schema, f"schema[{place}]") for place, schema in enumerate(schemas))
    return (replace(found[0], unsaid=(*left, *found[0].unsaid)), *found[1:])


def dataset_name(name: str) -> str:
    """As `conveyor.toml` takes names: lower case letters, digits, - and _."""
    made = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")
    return made if made[:1].isalpha() else f"data_{made}".rstrip("_")


def _table(raw: object, at: str) -> Imported:
    schema = _need(raw, Mapping, at)
    name = _need(schema.get("name"), str, f"{at}.name")
    table = _Table()
    table.unsaid += [f"{at}.{key}" for key in schema if key not in _SCHEMA]
    for place, each in enumerate(_need(schema.get("properties", []), list, f"{at}.properties")):
        _column(table, each, f"{at}.properties[{place}]")
    for place, each in enumerate(_need(schema.get("customProperties", []), list, f"{at}.customProperties")):
        custom = _need(each, Mapping, f"{at}.customProperties[{place}]")
        if custom.get("property") == "eventTime" and isinstance(custom.get("value"), str):
            table.time = custom["value"]
        else:
            table.unsaid.append(f"{at}.customProperties: {custom.get('property')}")
    for place, each in enumerate(_need(schema.get("quality", []), list, f"{at}.quality")):
        check = _need(each, Mapping, f"{at}.quality[{place}]")
        if check.get("engine") == PANDERA and isinstance(check.get("implementation"), str):
            table.model = check["implementation"]
        else:
            table.unsaid.append(f"{at}.quality[{place}]: {_about(check)}")
    if len(table.keys) > 1:
        table.unsaid.append(f"{at}: a key of several columns ({', '.join(table.keys)})")
    key = table.keys[0] if len(table.keys) == 1 else None
    if (made := dataset_name(name)) != name:
        table.unsaid.append(f"{at}.name: {name!r} is called {made} here")
    return Imported(made, tuple(table.rules), key, table.time, table.model, tuple(table.unsaid))


def _column(table: _Table, raw: object, at: str) -> None:
    said = _need(raw, Mapping, at)
    name = _need(said.get("name"), str, f"{at}.name")
    table.unsaid += [f"{at}.{key} of {name}" for key in said if key not in _PROPERTY]
    table.keys += [name] if said.get("primaryKey") is True else []
    kind = _type(table, said, name, at)
    table.rules += [Rule(name, RuleKind.TYPE, kind)] if kind else []
    table.rules += [Rule(name, RuleKind.NOT_NULL, True)] if said.get("required") is True else []
    table.rules += [Rule(name, RuleKind.UNIQUE, True)] if said.get("unique") is True else []
    options = _need(said.get("logicalTypeOptions", {}), Mapping, f"{at}.logicalTypeOptions")
    for word, value in options.items():
        rule = _option(name, str(word), value, str(said.get("logicalType", "")))
        table.rules += [rule] if rule else []
        table.unsaid += [] if rule else [f"{at}.logicalTypeOptions.{word} of {name}"]
    for place, each in enumerate(_need(said.get("quality", []), list, f"{at}.quality")):
        check = _need(each, Mapping, f"{at}.quality[{place}]")
        rules = list(_check(name, check))
        table.rules += rules
        table.unsaid += [] if rules else [f"{at}.quality[{place}] of {name}: {_about(check)}"]


def _type(table: _Table, said: Mapping[str, Any], name: str, at: str) -> str:
    """A Polars type, or a kind of types by the logical type; "" with neither."""
    physical, word = str(said.get("physicalType", "")), str(said.get("logicalType", ""))
    if physical in KINDS or physical.partition("(")[0] in TYPES:
        return physical
    kind = _LOGICAL.get(word, "")
    if physical:
        table.unsaid.append(f"{at}.physicalType of {name}: {physical}" + (f" (taken as {kind})" if kind else ""))
    if word and not kind:
        table.unsaid.append(f"{at}.logicalType of {name}: {word}")
    return kind


def _option(column: str, word: str, value: Any, logical: str) -> Rule | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if word in ("minimum", "maximum"):
        bound = value if number and logical in ("number", "integer") else _moment(value)
        return None if bound is None else Rule(column, _RULES[word], bound)
    if word in ("exclusiveMinimum", "exclusiveMaximum") and type(value) is int and logical == "integer":
        down = word == "exclusiveMinimum"
        return Rule(column, RuleKind.MIN if down else RuleKind.MAX, value + 1 if down else value - 1)
    if word == "pattern" and isinstance(value, str):
        return Rule(column, RuleKind.PATTERN, value)
    if word in ("minLength", "maxLength") and type(value) is int and value >= 0:
        return Rule(column, _RULES[word], value)
    return None


def _check(column: str, check: Mapping[str, Any]) -> Iterator[Rule]:
    """A quality check as the rule that says the same; nothing where none does."""
    how = check.get("implementation")
    if check.get("engine") == ENGINE and isinstance(how, Mapping) and how.get("rule") in list(RuleKind):
        yield Rule(column, RuleKind(how["rule"]), _restored(how.get("value")))
        return
    if check.get("type", "library") != "library" or check.get("mustBe") != 0 or isinstance(check.get("mustBe"), bool):
        return
    metric, arguments = check.get("metric"), check.get("arguments") or {}
    if metric in ("nullValues", "missingValues") and not arguments:
        yield Rule(column, RuleKind.NOT_NULL, True)
    elif metric == "duplicateValues" and not arguments:
        yield Rule(column, RuleKind.UNIQUE, True)
    elif metric == "invalidValues" and isinstance(arguments, Mapping) and set(arguments) <= {"validValues", "pattern"}:
        values, pattern = arguments.get("validValues"), arguments.get("pattern")
        if isinstance(values, list):
            yield Rule(column, RuleKind.ONE_OF, values)
        if isinstance(pattern, str):
            yield Rule(column, RuleKind.PATTERN, pattern)


def _moment(value: Any) -> date | None:
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    except ValueError:
        return None


def _restored(value: Any) -> Any:
    return _moment(value) or value


def _about(check: Mapping[str, Any]) -> str:
    words = (check.get("name"), check.get("description"), check.get("metric"), check.get("engine"), check.get("type"))
    return str(next((word for word in words if word), "a quality check"))


def _need(value: Any, kind: Any, at: str) -> Any:
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "text" if kind is str else "a mapping"
        raise InputRejected(
            f"{at}: expected {wanted}, found {type(value).__name__}",
            hint="Check the contract against the standard's JSON schema.",
        )
    return value
