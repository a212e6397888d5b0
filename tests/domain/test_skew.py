"""Value skew, counted as the contract at ingest counts it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.contract import Rule, RuleKind, rules_of
from conveyor.domain.project import DataConfig
from conveyor.domain.skew import Skew, served
from conveyor.sdk import contracts

NAMES = ("a", "b", "c")
NUMBER = st.floats(-9, 9, width=32) | st.integers(-9, 9)
DEMANDS = {
    "min": NUMBER,
    "max": NUMBER,
    "not_null": st.just(True),
    "one_of": st.lists(st.integers(-3, 3), min_size=1, max_size=4),
}
RULES = st.dictionaries(st.sampled_from((*NAMES, "other")), st.fixed_dictionaries({}, optional=DEMANDS))
ROWS = st.lists(st.tuples(*[st.floats(-12, 12, width=32) | st.integers(-4, 4)] * len(NAMES)), min_size=1, max_size=20)


@settings(deadline=None)
@given(RULES, ROWS)
def test_it_counts_what_the_contract_counts(rules: dict[str, dict[str, Any]], rows: list[tuple[float, ...]]) -> None:
    matrix = np.array(rows, np.float32)
    table = pl.DataFrame(matrix, schema=list(NAMES))
    data = DataConfig("d", rules={name: demands for name, demands in rules.items() if name in NAMES})
    found = contracts.failures(table, "t", data)
    expected = {str(rule): count for rule, count in found.group_by("__rule__").len().rows()}
    assert Skew(NAMES, rules_of(rules)).broken(matrix) == expected


def test_gaps_whole_numbers_and_what_cannot_be_checked() -> None:
    rules = rules_of(
        {
            "a": {"not_null": True, "type": "Int64", "min": 0.1},
            "b": {"type": "Float64", "pattern": "x", "min": "2026-01-01", "unique": True, "one_of": ["x"]},
            "c": {"type": "boolean", "max": 1},
        }
    )
    assert [rule.name for rule in served(rules, NAMES)] == ["a:not_null", "a:type", "a:min", "c:type", "c:max"]
    skew = Skew(NAMES, rules)
    assert skew.broken(np.array([[0.1, 0, 1], [np.nan, 0, 0.5], [3, np.inf, 2]], np.float32)) == {
        "a:not_null": 1, "a:type": 1, "c:type": 1, "c:max": 1,
    }  # fmt: skip
    assert skew.broken(np.array([[7, -5, 0]], np.float32)) == {}
    huge = Skew(NAMES, rules_of({"a": {"max": 1e300, "min": -(2**62), "one_of": [1e300, 1]}}))
    assert huge.broken(np.array([[1, 0, 0], [3e38, 0, 0]] * 5, np.float32)) == {"a:one_of": 5}
    assert Skew(NAMES, ()).broken(np.array([[np.nan, -5, 0]], np.float32)) == {}
    assert Rule("a", RuleKind.MIN, 0) not in served([Rule("z", RuleKind.MIN, 0)], NAMES)
