"""Contracts to documents of the Open Data Contract Standard and back; judged by the standard's own JSON schema."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from open_data_contract_standard.model import OpenDataContractStandard

from conveyor.cli.contract import yaml_of
from conveyor.domain import odcs, odcs_reader
from conveyor.domain.contract import RuleKind, rules_of
from conveyor.domain.odcs import Contract
from conveyor.errors import InputRejected

SCHEMA = json.loads((importlib.resources.files("open_data_contract_standard") / "schema.json").read_text())
VALIDATOR = jsonschema.Draft201909Validator(SCHEMA)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TYPES = st.sampled_from(
    ["Int64", "UInt8", "Float64", "Decimal(precision=10, scale=2)", "String", "Boolean", "Date", "List(Int8)", "Time",
     "Datetime(time_unit='us', time_zone=None)", "Duration(time_unit='us')", *odcs.KINDS]
)  # fmt: skip
DEMANDS = {
    "type": TYPES,
    "min": NUMBER,
    "max": NUMBER | st.dates() | st.datetimes().map(lambda at: at.replace(fold=0)),
    "not_null": st.just(True),
    "unique": st.just(True),
    "one_of": st.lists(TEXT | st.integers(-9, 9), max_size=3),
    "pattern": TEXT,
    "min_length": st.integers(0, 99),
    "max_length": st.integers(0, 99),
}
CONTRACTS = st.builds(
    Contract,
    project=st.just("shop"),
    name=st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True).filter(lambda name: name[-1].isalnum()),
    rules=st.dictionaries(TEXT, st.fixed_dictionaries({}, optional=DEMANDS), max_size=4),
    key=st.none() | TEXT,
    time=st.none() | TEXT,
    model=st.none() | st.just("shop.contracts:Payments"),
    version=st.none() | st.integers(1, 99),
)


def sorted_rules(rules: Any) -> list[tuple[str, str, str]]:
    return sorted((rule.column, str(rule.kind), repr(rule.value)) for rule in rules)


@settings(deadline=None, max_examples=100)
@given(CONTRACTS)
def test_what_is_exported_is_valid_and_is_imported_as_it_was(contract: Contract) -> None:
    text = yaml_of(odcs.document(contract))
    document = yaml.safe_load(text)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    (found,) = odcs_reader.read(document)
    assert found.unsaid == ()
    assert (found.name, found.key, found.time, found.model) == (
        contract.name,
        contract.key,
        contract.time,
        contract.model,
    )
    assert sorted_rules(found.rules) == sorted_rules(rules_of(contract.rules))


def test_a_schema_that_is_known_comes_as_types() -> None:
    contract = Contract(
        "shop", "payments", {"amount": {"min": 0}}, schema={"amount": "Float64", "kind": "String"}, version=3
    )
    document = odcs.document(contract)
    amount = document["schema"][0]["properties"][0]
    assert amount == {
        "name": "amount",
        "logicalType": "number",
        "physicalType": "Float64",
        "logicalTypeOptions": {"minimum": 0},
    }
    assert OpenDataContractStandard.from_string(yaml_of(document)).version == "3"
    (found,) = odcs_reader.read(document)
    assert [(rule.column, rule.kind) for rule in found.rules] == [
        ("amount", RuleKind.TYPE), ("amount", RuleKind.MIN), ("kind", RuleKind.TYPE),
    ]  # fmt: skip


FOREIGN = """
apiVersion: v3.1.0
kind: DataContract
id: urn:x
version: 1.0
status: draft
description: {purpose: all of it}
slaProperties: [{property: latency, value: 4, unit: d}]
schema:
  - name: Orders Table
    physicalName: orders_v2
    properties:
      - {name: id, logicalType: integer, physicalType: BIGINT, primaryKey: true, primaryKeyPosition: 1, required: true}
      - name: price
        logicalType: number
        logicalTypeOptions: {exclusiveMinimum: 0, maximum: 10, multipleOf: 2}
        quality: [{type: sql, query: SELECT 1, mustBe: 0, description: prices add up}]
      - {name: n, logicalType: integer, logicalTypeOptions: {exclusiveMinimum: 0}}
      - name: state
        logicalType: string
        logicalTypeOptions: {minLength: 2, format: email}
        classification: public
        quality:
          - {metric: invalidValues, arguments: {validValues: [AT, DE], pattern: ^A}, mustBe: 0}
          - {metric: nullValues, mustBe: 0}
          - {metric: missingValues, arguments: {missingValues: [N/A]}, mustBeLessThan: 5, unit: percent}
          - {metric: duplicateValues, mustBe: 0}
      - {name: day, logicalType: date, logicalTypeOptions: {minimum: "2020-01-01"}}
      - {name: where, logicalType: object}
"""


def test_a_contract_of_somebody_else_is_read_as_far_as_rules_can_say_it() -> None:
    (found,) = odcs_reader.read(yaml.safe_load(FOREIGN))
    assert (found.name, found.key) == ("orders_table", "id")
    said = {(rule.column, str(rule.kind)): rule.value for rule in found.rules}
    assert said[("id", "type")] == "integer"
    assert said[("price", "max")] == 10
    assert said[("n", "min")] == 1
    assert said[("state", "one_of")] == ["AT", "DE"]
    assert {kind for column, kind in said if column == "state"} == {
        "type", "min_length", "one_of", "pattern", "not_null", "unique",
    }  # fmt: skip
    assert str(said[("day", "min")]) == "2020-01-01"
    for what in (
        "description: says nothing of rows", "slaProperties", "physicalName", "BIGINT (taken as integer)",
        "exclusiveMinimum of price", "multipleOf of price", "of price: prices add up", "format of state",
        "classification of state", "of state: missingValues", "logicalType of where: object", "is called orders_table",
    ):  # fmt: skip
        assert [line for line in found.unsaid if what in line], (what, found.unsaid)
    assert len(found.unsaid) == 12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "Schema"}, "its kind is 'Schema'"),
        ({"apiVersion": "v3.0.2"}, "written in 'v3.0.2' of the standard; v3.1.0 is read here"),
        ({"apiVersion": None}, "written in None"),
        ({"schema": []}, "has no schema"),
        ({"schema": "x"}, "schema: expected a list, found str"),
        ({"schema": [{"name": "a", "properties": [{}]}]}, r"schema\[0\].properties\[0\].name: expected text"),
        ({"schema": [{"name": "a", "properties": {"x": 1}}]}, "expected a list, found dict"),
    ],
)
def test_what_is_no_contract_of_this_version_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputRejected, match=says):
        odcs_reader.read(yaml.safe_load(FOREIGN) | change)
    with pytest.raises(InputRejected, match="the document: expected a mapping"):
        odcs_reader.read("text")
