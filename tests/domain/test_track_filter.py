"""The filter language of tracked runs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.pickles import pickled
from conveyor.domain.track_filter import Clause, Order, parse, parse_order
from conveyor.domain.track_match import matches
from conveyor.errors import InputRejected

TEXT = st.text(st.characters(exclude_characters="'", exclude_categories=("Cs",)), max_size=20)
KEY = st.from_regex(r"\A[A-Za-z_][\w]{0,8}\Z").filter(lambda key: key.isascii())


def test_what_is_said_is_read() -> None:
    text = "metrics.auc >= -1e-3 and params.`a b` != 'x AND y' AND tags.\"q\" LIKE 'v%' AND start_time > 5"
    assert parse(text) == [
        Clause("metric", "auc", ">=", -0.001),
        Clause("parameter", "a b", "!=", "x AND y"),
        Clause("tag", "q", "LIKE", "v%"),
        Clause("attribute", "start_time", ">", 5),
    ]
    assert parse("run_id IN ('a', 'b') AND tags.t IS NOT NULL and params.p is null") == [
        Clause("attribute", "run_id", "IN", ("a", "b")),
        Clause("tag", "t", "IS NOT NULL", None),
        Clause("parameter", "p", "IS NULL", None),
    ]
    assert parse("") == []
    assert parse_order("metrics.`a b` DESC") == Order("metric", "a b", False)
    assert parse_order("Created") == Order("attribute", "start_time", True)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a = 'x'",
        "metrics.a > 1 OR metrics.b > 1",
        "params.a > 'x'",
        "params.a = x",
        "colour = 'red'",
        "nothing.a = 'b'",
        "metrics.a >",
        "metrics.a",
        "metrics.a > 1 metrics.b > 2",
        "run_id IN 'a'",
        "run_id IN (a)",
        "metrics.a IS NULL",
        "params.a = 'x'; drop table runs",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(InputRejected):
        parse(text)


@given(KEY, TEXT, st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_comes_through(key: str, text: str, value: float) -> None:
    assert parse(f"params.{key} = '{text}'") == [Clause("parameter", key, "=", text)]
    assert parse(f"metrics.{key} < {value!r} AND tags.{key} ILIKE '{text}'")[0].value == value
    assert matches(Clause("tag", key, "LIKE", text.replace("%", "_")), text)


@given(st.text(max_size=60))
def test_any_nonsense_is_refused_or_read(text: str) -> None:
    with contextlib.suppress(InputRejected):
        parse(text)


def test_pickles_are_known_by_name_by_bytes_and_within_a_zip() -> None:
    assert pickled("model/Model.PKL", b"anything")
    assert pickled("weights", b"\x80\x04\x95")
    assert pickled("net.zip", b"PK", ["net/data.pkl"])
    assert not pickled("model.skops", b"PK\x03\x04", ["schema.json", "1.npy"])
    assert not pickled("notes.txt", b"\x80 euros")
