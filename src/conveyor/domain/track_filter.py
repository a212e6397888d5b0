"""The filter language of MLflow's searches: comparisons joined by AND; and its `order_by`. Pure: text in, clauses out.

metrics.auc > 0.9 AND params.depth = '8' AND tags.`mlflow.user` LIKE 'a%' AND attributes.status = 'FINISHED'
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from conveyor.errors import InputRejected

METRIC, PARAM, TAG, ATTRIBUTE, DATASET = "metric", "parameter", "tag", "attribute", "dataset"
_KINDS = {
    **dict.fromkeys(("metric", "metrics"), METRIC),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), PARAM),
    **dict.fromkeys(("tag", "tags"), TAG),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), ATTRIBUTE),
    **dict.fromkeys(("dataset", "datasets"), DATASET),
}
_ALIASES = {"created": "start_time", "Created": "start_time"} | dict.fromkeys(
    ("run name", "Run name", "Run Name"), "run_name"
)
RUN_KEYS = frozenset(("run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time", *_ALIASES))
NUMBERS = frozenset(
    ("start_time", "end_time", "creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp")
)

_NUMERIC = frozenset(("=", "!=", ">", ">=", "<", "<="))
_TEXT = frozenset(("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"))
_QUOTED = r"`[^`]*`|'[^']*'|\"[^\"]*\""
_TOKEN = re.compile(
    rf"\s*(?:(?P<op><=|>=|!=|=|<|>)|(?P<list>\([^()]*\))|(?P<word>(?:{_QUOTED}|[\w\-+./@:])+)|(?P<bad>\S))"
)
_WORDS = (("NOT", "IN"), ("IS", "NOT", "NULL"), ("IS", "NULL"))


@dataclass(frozen=True, slots=True)
class Clause:
    """`value`: a number, a text, several texts, or None for IS NULL and IS NOT NULL."""

    kind: str
    key: str
    op: str
    value: float | str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Order:
    kind: str
    key: str
    ascending: bool


def parse(
    text: str, keys: Container[str] = RUN_KEYS, kinds: Container[str] = (METRIC, PARAM, TAG, ATTRIBUTE, DATASET)
) -> list[Clause]:
    """Raises InputRejected, which names what is wrong."""
    tokens = _tokens(text)
    clauses: list[Clause] = []
    while tokens:
        if clauses:
            if tokens[0].upper() != "AND":
                raise _bad(f"Invalid clause(s) in filter string: {tokens[0]!r}")
            tokens.pop(0)
        clauses.append(_clause(tokens, keys, kinds))
    return clauses


def parse_order(text: str, keys: Container[str] = RUN_KEYS) -> Order:
    """`metrics.auc DESC`; ascending where nothing is said."""
    found = re.fullmatch(r"\s*(.+?)(?:\s+(asc|desc))?\s*", text, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise _bad(f"Invalid order_by clause {text!r}")
    kind, key = _identifier(found[1], keys)
    return Order(kind, key, (found[2] or "asc").lower() == "asc")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["bad"]:
            raise _bad(f"Invalid filter {text!r}: {match['bad']!r} is not understood")
        found.append(match[0].strip())
    return found


def _clause(tokens: list[str], keys: Container[str], kinds: Container[str]) -> Clause:
    if len(tokens) < 3:
        raise _bad(f"Invalid comparison clause {' '.join(tokens)!r}")
    kind, key = _identifier(tokens.pop(0), keys)
    if kind not in kinds:
        raise _bad(f"Invalid search expression type {kind!r}")
    op = _operator(tokens)
    numeric = kind == METRIC or (kind == ATTRIBUTE and key in NUMBERS)
    if op not in (_NUMERIC if numeric else _TEXT):
        raise _bad(f"Invalid comparator {op!r} for {kind} {key!r}")
    if op in ("IS NULL", "IS NOT NULL"):
        if kind not in (TAG, PARAM):
            raise _bad(f"{op} is only supported for tags and params, not for {kind} {key!r}")
        return Clause(kind, key, op, None)
    if not tokens:
        raise _bad(f"Invalid comparison clause: {key} {op} what?")
    return Clause(kind, key, op, _value(tokens.pop(0), kind, key, op, numeric))


def _operator(tokens: list[str]) -> str:
    for words in _WORDS:
        if tuple(each.upper() for each in tokens[: len(words)]) == words:
            del tokens[: len(words)]
            return " ".join(words)
    return tokens.pop(0).upper()


def _identifier(text: str, keys: Container[str]) -> tuple[str, str]:
    first, dot, rest = text.partition(".")
    name, key = (first, rest) if dot else (ATTRIBUTE, first)
    kind = _KINDS.get(_unquoted(name, "`"))
    if kind is None:
        raise _bad(f"Invalid entity type {name!r}. Valid values are metric, parameter, tag, attribute, dataset")
    key = _unquoted(key, "`'\"")
    if kind == ATTRIBUTE and key not in keys:
        raise _bad(f"Invalid attribute key {key!r} specified.")
    return kind, _ALIASES.get(key, key) if kind == ATTRIBUTE else key


def _value(text: str, kind: str, key: str, op: str, numeric: bool) -> float | str | tuple[str, ...]:
    if numeric:
        try:
            return float(text) if kind == METRIC or "." in text else int(text)
        except ValueError:
            raise _bad(f"Expected numeric value type for {kind} {key!r}. Found {text}") from None
    if op in ("IN", "NOT IN"):
        if not text.startswith("("):
            raise _bad(f"Expected a list of quoted strings after {op}. Found {text}")
        parts = re.findall(_QUOTED, text)
        if not parts or re.sub(_QUOTED, "", text).strip("(), \t\n"):
            raise _bad(f"Expected a list of quoted strings after {op}. Found {text}")
        return tuple(part[1:-1] for part in parts)
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        raise _bad(f"Expected a quoted string value for {kind} {key!r}. Found {text}")
    return text[1:-1]


def _unquoted(text: str, quotes: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in quotes and text[-1] == text[0] else text


def _bad(message: str) -> InputRejected:
    return InputRejected(message, hint="docs/tracking.md shows the filter language.")
