"""Rows of requests: refused at once where they do not fit, read back in the schema's own types."""

from __future__ import annotations

import io
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.rows import Format, Frame, encode
from conveyor.errors import InputRejected
from conveyor.sdk import rows

SCHEMA = {
    "id": "Int32",
    "at": "Datetime(time_unit='us', time_zone=None)",
    "amount": "Float64",
    "kind": "String",
    "good": "Boolean",
    "day": "Date",
}
LINE = {"id": 1, "at": "2018-04-01T10:00:00", "amount": 2, "kind": "a", "good": True, "day": "2018-04-01"}


def lines(*changes: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(LINE | change).encode() + b"\n" for change in changes)


def read(
    tmp_path: Path, *bodies: bytes, format_: str = "ndjson", schema: dict[str, str] | None = SCHEMA
) -> pl.DataFrame:
    path = tmp_path / "segment"
    path.write_bytes(b"".join(encode(Frame(body)) for body in bodies))
    return rows.read(path, f"rows-1.{format_}.rows", schema)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lines({}, {"id": "x"}), "line 2: Expected `int | null`, got `str` - at `$[1].id`"),
        (lines({"id": 2**31}), "line 1: Expected `int` <= 2147483647"),
        (lines({}, {}, {"colour": 1}), "line 3: Object contains unknown field `colour`"),
        (lines({"at": "tomorrow"}), "line 1: Invalid RFC3339"),
        (lines({})[:-10], "line 1: Input data was truncated"),
        (lines({}) + b"[1]\n", "line 2: Expected `object`, got `array`"),
        (lines({}) + b'{"kind": "\xff"}\n', "line 2: "),
        (b'{"id": ' + b"[" * 100_000, "line 1: Expected `int | null`"),
        (b"\n\n", "the request has no rows"),
        (b"", "the request has no rows"),
    ],
)
def test_a_request_with_a_row_that_does_not_fit_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(InputRejected) as refused:
        rows.checked(Format.NDJSON, body, SCHEMA)
    assert says in refused.value.message


def test_nesting_without_end_is_refused_also_without_a_schema() -> None:
    with pytest.raises(InputRejected, match="line 2: maximum recursion depth"):
        rows.checked(Format.NDJSON, b'{"a": 1}\n{"a": ' + b"[" * 1_000_000 + b"\n", None)


def test_rows_come_back_in_the_types_of_the_schema(tmp_path: Path) -> None:
    first, count = rows.checked(Format.NDJSON, lines({}, {"at": "2018-04-01 10:00:00.25", "amount": 1e3})[:-1], SCHEMA)
    second, more = rows.checked(Format.NDJSON, b'{"id": 7, "at": "2018-04-01T12:00:00+02:00"}{"id": 8}\n\n', SCHEMA)
    third, _ = rows.checked(Format.NDJSON, b'{"id": 9,\n "kind": "b"}', SCHEMA)
    assert (count, more) == (2, 2)
    table = read(tmp_path, first, second, third)
    assert {name: str(dtype) for name, dtype in table.schema.items()} == SCHEMA
    ten = datetime(2018, 4, 1, 10)
    assert table["at"].to_list() == [ten, ten + timedelta(milliseconds=250), ten, None, None]
    assert table["id"].to_list() == [1, 1, 7, 8, 9]
    assert table["amount"].to_list() == [2.0, 1000.0, None, None, None]
    assert table["day"].to_list() == [date(2018, 4, 1)] * 2 + [None] * 3
    assert read(tmp_path, b'{"a": 1}\n', b'{"a": 2.5, "b": "x"}\n', schema=None).to_dicts() == [
        {"a": 1.0, "b": None}, {"a": 2.5, "b": "x"},
    ]  # fmt: skip


VALUES = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(-(2**31), 2**31 - 1),
        "at": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
        "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "kind": st.none() | st.text(st.characters(codec="utf-8")),
        "good": st.none() | st.booleans(),
        "day": st.none() | st.dates(date(1700, 1, 1), date(2200, 1, 1)),
    }
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_any_rows_of_the_schema_survive_json(tmp_path_factory: pytest.TempPathFactory, given_: list[Any]) -> None:
    body = b"".join(json.dumps(row, default=lambda when: when.isoformat()).encode() + b"\n" for row in given_)
    checked, count = rows.checked(Format.NDJSON, body, SCHEMA)
    assert count == len(given_)
    assert read(tmp_path_factory.mktemp("rows"), checked).to_dicts() == given_


def stream(table: pl.DataFrame) -> bytes:
    target = io.BytesIO()
    table.write_ipc_stream(target)
    return target.getvalue()


def test_arrow_streams(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": [1, 2], "amount": [1.5, None]}, schema={"id": pl.Int16, "amount": pl.Float64})
    body, count = rows.checked(Format.ARROW, stream(table), SCHEMA)
    assert count == 2
    found = read(tmp_path, body, stream(table.select("id")), format_="arrow")
    assert {name: str(dtype) for name, dtype in found.schema.items()} == SCHEMA
    assert found["id"].to_list() == [1, 2, 1, 2]
    for bad, says in (
        (stream(table)[:100], "not an Arrow IPC stream"),
        (b"PAR1", "not an Arrow IPC stream"),
        (stream(table.cast({"id": pl.Int64})), "column id: expected Int32, found Int64"),
        (stream(table.with_columns(x=1)), "column x is not in the dataset's schema"),
        (stream(table.clear()), "has no rows"),
    ):
        with pytest.raises(InputRejected, match=says):
            rows.checked(Format.ARROW, bad, SCHEMA)
