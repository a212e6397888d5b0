"""Inferred rules and models accept the data that they were inferred from, whatever the data are."""

from __future__ import annotations

import sys
import tomllib
import types
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conveyor.config.load import load
from conveyor.domain import contract_text
from conveyor.domain.contract import inline_of, rules_of
from conveyor.domain.inference import ColumnFacts, ColumnKind, bounds
from conveyor.domain.project import DataConfig
from conveyor.errors import InputRejected
from conveyor.sdk import contracts
from conveyor.sdk.infer import infer
from conveyor.sdk.schema import describe

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pl.Int8: st.integers(-(2**7), 2**7 - 1),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Float32: st.floats(width=32),
    pl.Float64: st.floats(),
    pl.String: TEXT,
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(),
    pl.Datetime("us", "UTC"): st.datetimes(datetime(1800, 1, 1), datetime(2300, 1, 1)),
    pl.List(pl.Int8): st.lists(st.integers(0, 9), max_size=3),
    pl.Null: st.none(),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 30))
    columns = []
    for name in draw(
        st.lists(TEXT.filter(lambda name: name not in contracts.FAILURES), min_size=1, unique=True, max_size=5)
    ):
        dtype = draw(st.sampled_from(list(VALUES)))
        one = draw(st.sampled_from([VALUES[dtype], VALUES[dtype] | st.none()]))
        if draw(st.booleans()):  # few values
            one = st.sampled_from(draw(st.lists(one, min_size=1, max_size=3)))
        columns.append(pl.Series(name, draw(st.lists(one, min_size=rows, max_size=rows)), dtype, strict=False))
    return pl.DataFrame(columns)


def pasted(table: pl.DataFrame, key: str | None, text: str) -> DataConfig:
    """Through the configuration file, as a person would."""
    extra = f"key = {contract_text.toml_value(key)}\n" if key else ""
    return load(f'[project]\nname = "p"\n[data.d]\n{extra}{text}').data["d"]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.booleans())
def test_rules_accept_what_they_were_inferred_from(table: pl.DataFrame, keyed: bool) -> None:
    key = next((each.name for each in table if keyed and not each.dtype.is_nested() and each.is_unique().all()), None)
    key = (
        key
        if key and not table[key].has_nulls() and not (table[key].dtype.is_float() and table[key].is_nan().any())
        else None
    )
    rules = infer(table.lazy(), key=key)
    data = pasted(table, key, contract_text.toml("d", rules))
    assert set(map(repr, rules_of(data.rules))) == set(map(repr, rules))
    assert contracts.failures(table, "t", data).rows() == []


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_pandera_models_accept_what_they_were_inferred_from(table: pl.DataFrame) -> None:
    # Pandera asks polars for columns by names that polars reads as patterns.
    assume(not any(name == "*" or (name[:1] == "^" and name[-1:] == "$") for name in table.columns))
    text = contract_text.pandera("d", infer(table.lazy()), describe(table.schema))
    module = types.ModuleType("inferred_contract")
    exec(compile(text, "inferred", "exec"), module.__dict__)
    sys.modules["inferred_contract"] = module
    try:
        assert contracts.by_model(table, "inferred_contract:D", "t").rows() == []
    finally:
        del sys.modules["inferred_contract"]


def test_rules_say_what_a_person_would_write() -> None:
    table = pl.DataFrame(
        {
            "id": range(100),
            "amount": [1.5 + 9.7 * n for n in range(100)],
            "balance": [n - 40.25 for n in range(100)],
            "flag": [n % 2 for n in range(100)],
            "kind": (["card", "cash"] * 50),
            "note": [None, *[f"n{n}" for n in range(99)]],
            "at": [datetime(2026, 1, 1, n % 24) for n in range(100)],
        }
    )
    text = contract_text.toml("payments", infer(table.lazy(), key="id", time="at"))
    assert tomllib.loads(text)["data"]["payments"]["rules"] == {
        "id": {"type": "Int64", "not_null": True, "unique": True},
        "amount": {"type": "Float64", "not_null": True, "min": 0, "max": 1060},
        "balance": {"type": "Float64", "not_null": True, "min": -51, "max": 69},
        "flag": {"type": "Int64", "not_null": True, "min": 0, "max": 1},
        "kind": {"type": "String", "not_null": True, "one_of": ["card", "cash"]},
        "note": {"type": "String"},
        "at": {"type": "Datetime(time_unit='us', time_zone=None)", "not_null": True},
    }
    with pytest.raises(InputRejected, match="the key no is not a column"):
        infer(table.lazy(), key="no")


@given(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
def test_bounds_hold_the_data_and_keep_the_sign(one: float, other: float, whole: bool) -> None:
    low, high = sorted((float(int(one)), float(int(other))) if whole else (one, other))
    kind = ColumnKind.INTEGER if whole else ColumnKind.FLOAT
    least, most = bounds(ColumnFacts("x", kind, "", 2, 0, low=low, high=high))
    assert least is None or (least <= low and (low < 0 or least >= 0))
    assert most is None or (most >= high and (high > 0 or most <= 0))
    if abs(high - low) > 11 and abs(low) < 1e15 and abs(high) < 1e15:
        assert least is not None
        assert most is not None
        assert most - least <= 1.5 * (high - low)


def test_text_rules_find_what_breaks_them() -> None:
    table = pl.DataFrame(
        {"iban": ["DE12345", "x", None, "FR1", "DE999"], "at": [datetime(2026, 1, n) for n in range(1, 6)]}
    )
    rules = {
        "iban": {"pattern": "^[A-Z]{2}[0-9]+$", "min_length": 4, "max_length": 6},
        "at": {"max": "2026-01-04", "min": datetime(2026, 1, 2)},
    }
    found = contracts.failures(table, "t", DataConfig("d", rules=rules))
    assert sorted(zip(found["__row__"], found["__rule__"], strict=True)) == [
        (0, "at:min"), (0, "iban:max_length"), (1, "iban:min_length"), (1, "iban:pattern"), (3, "iban:min_length"),
        (4, "at:max"),
    ]  # fmt: skip
    assert found.filter(__rule__="iban:pattern")["__reason__"].item() == "iban = 'x' must match ^[A-Z]{2}[0-9]+$"
    for wrong in (
        {"at": {"pattern": "x"}},
        {"at": {"min": "soon"}},
        {"iban": {"pattern": "(?=x)"}},
    ):
        with pytest.raises(InputRejected, match="does not fit column"):
            contracts.failures(table, "t", DataConfig("d", rules=wrong))  # type: ignore[arg-type]
    assert inline_of(rules_of(rules)) == rules  # type: ignore[arg-type]
