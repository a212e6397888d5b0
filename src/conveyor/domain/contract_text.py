"""A contract as text to paste: inline rules of `conveyor.toml`, or a Pandera model's module. Pure."""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from conveyor.domain.contract import Rule, RuleKind

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_CHECKS = {
    RuleKind.MIN: "ge",
    RuleKind.MAX: "le",
    RuleKind.ONE_OF: "isin",
    RuleKind.UNIQUE: "unique",
    RuleKind.PATTERN: "str_contains",
}
_ORDER = list(dict.fromkeys((RuleKind.TYPE, RuleKind.NOT_NULL, RuleKind.UNIQUE, *RuleKind)))
_TYPES = {
    "number": "pl.Float64",
    "integer": "pl.Int64",
    "float": "pl.Float64",
    "datetime": "pl.Datetime",
    "string": "pl.String",
    "boolean": "pl.Boolean",
}


def toml(name: str, rules: Iterable[Rule]) -> str:
    """`[data.NAME.rules]`, a line a column in the order in which they come first."""
    rules = tuple(rules)
    columns: dict[str, list[str]] = {rule.column: [] for rule in rules}
    for rule in sorted(rules, key=lambda rule: _ORDER.index(rule.kind)):
        columns[rule.column].append(f"{rule.kind} = {toml_value(rule.value)}")
    lines = "".join(f"{toml_key(column)} = {{ {', '.join(demands)} }}\n" for column, demands in columns.items())
    return f"[data.{toml_key(name)}.rules]\n{lines}"


def toml_key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return repr(value)


def pandera(name: str, rules: Iterable[Rule], schema: Mapping[str, str]) -> str:
    """A module with a Pandera (Polars) model of all columns of `schema` (column -> Polars type)."""
    by_column: dict[str, list[Rule]] = {column: [] for column in schema}
    for rule in rules:
        by_column.setdefault(rule.column, []).append(rule)
    title = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", name)) or "Rows"
    title = title if title.isidentifier() and not keyword.iskeyword(title) else f"Rows{title}"
    fields = [
        _field(number, column, demands, schema.get(column, ""))
        for number, (column, demands) in enumerate(by_column.items())
    ]
    lines = "\n".join(fields) or "    pass"
    doc = f'"""What rows of {name} must satisfy."""'.replace("\\", "")
    imports = "from typing import Annotated\n\nimport pandera.polars as pa\nimport polars as pl"
    return f"{doc}\n\n{imports}\n\n\nclass {title}(pa.DataFrameModel):\n{lines}\n"


def _field(number: int, column: str, rules: list[Rule], dtype: str) -> str:
    demands = {rule.kind: rule.value for rule in rules}
    words = [f"{_CHECKS[kind]}={_python(kind, demands[kind])}" for kind in _CHECKS if kind in demands]
    if RuleKind.MIN_LENGTH in demands or RuleKind.MAX_LENGTH in demands:
        least, most = demands.get(RuleKind.MIN_LENGTH), demands.get(RuleKind.MAX_LENGTH)
        words.append(f'str_length={{"min_value": {least!r}, "max_value": {most!r}}}')
    if RuleKind.NOT_NULL not in demands:
        words.append("nullable=True")
    annotation = _annotation(str(demands.get(RuleKind.TYPE, "")) or dtype)
    plain = column.isascii() and column.isidentifier() and not keyword.iskeyword(column) and not column.startswith("_")
    attribute = column if plain and column not in ("Config", "validate", "to_schema") else f"column_{number}"
    words += [f"alias={column!r}"] if attribute != column else []
    return f"    {attribute}: {annotation} = pa.Field({', '.join(words)})"


def _annotation(dtype: str) -> str:
    """A type as Pandera takes it: `Datetime(time_unit='us', …)` is `Annotated[pl.Datetime, 'us', …]`."""
    if dtype in _TYPES:
        return _TYPES[dtype]
    try:
        node = ast.parse(dtype, mode="eval").body
    except SyntaxError:
        return "object"
    if not isinstance(node, ast.Call):
        return _polars(node)
    arguments = [_polars(each) for each in (*node.args, *(word.value for word in node.keywords))]
    return f"Annotated[{', '.join([_polars(node.func), *arguments])}]"


class _Prefix(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Attribute(ast.Name("pl", ast.Load()), node.id, ast.Load())


def _polars(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(_Prefix().visit(node)))


def _python(kind: RuleKind, value: Any) -> str:
    return repr(list(value)) if kind is RuleKind.ONE_OF else repr(value)
