"""When a watched file may be taken, and how its name is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.landing import PATIENCE, QUIET, SETTLED, Sight, due, judge, told

INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("whole", "held", "after"),
    [
        (True, False, SETTLED),
        (True, None, SETTLED),
        (None, False, SETTLED),
        (None, None, QUIET),
        (False, False, PATIENCE),
        (False, None, PATIENCE),
    ],
)
def test_a_file_is_taken_once_it_has_stood_still(whole: bool | None, held: bool | None, after: timedelta) -> None:
    assert judge(Sight(whole, held), after).take
    waits = judge(Sight(whole, held), after - INSTANT)
    assert not waits.take
    assert waits.why


@given(st.sampled_from([True, False, None]), st.timedeltas(min_value=timedelta(0)))
def test_a_file_that_is_open_for_writing_is_never_taken(whole: bool | None, still: timedelta) -> None:
    assert not judge(Sight(whole, True), still).take


@given(st.lists(st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name and b"/" not in name)))
def test_names_can_be_shown_and_stored_and_none_are_alike(names: list[bytes]) -> None:
    shown = [told(name) for name in names]
    assert all(text.isprintable() and text.encode() for text in shown)
    assert len(set(shown)) == len(set(names))


def test_plain_names_are_told_as_they_are() -> None:
    for name in ("2018-04-01.parquet", "a/b c/äöü 漢字.csv"):
        assert told(name.encode()) == name
    assert told(b"caf\xe9\n.csv") == "caf\\xe9\\x0a.csv"


@given(st.timedeltas(timedelta(0), timedelta(hours=1)), st.timedeltas(timedelta(0), timedelta(days=1)))
def test_looks_take_a_bounded_share_of_the_time(cost: timedelta, passed: timedelta) -> None:
    last = datetime(2026, 1, 1, tzinfo=UTC)
    if due(last + passed, last, cost, timedelta(seconds=1), 0.02) and passed:
        assert cost <= passed * 0.0201 + timedelta(microseconds=1)
        assert passed >= timedelta(seconds=1)
    assert due(last - timedelta(seconds=1), last, cost, timedelta(seconds=1), 0.02)  # a clock that went back
