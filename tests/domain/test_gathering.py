from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log2

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.dataset import Part
from conveyor.domain.gathering import MOST_ROWS, folded, kept, source, surplus

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


@given(st.lists(st.integers(1, MOST_ROWS), min_size=1, max_size=300))
def test_there_are_few_parts_and_no_row_is_written_often(sizes: list[int]) -> None:
    parts: list[int] = []
    written = 0
    for new in sizes:
        count = folded(parts, new)
        made = sum(parts[len(parts) - count :]) + new
        parts = [*parts[: len(parts) - count], made]
        written += made
    assert sum(parts) == sum(sizes)
    assert max(parts) <= MOST_ROWS
    assert len(parts) <= 2 * sum(sizes) / MOST_ROWS + log2(MOST_ROWS) + 2
    assert written <= sum(sizes) * (log2(MOST_ROWS) + 1)


@given(st.lists(st.integers(1, 60 * 24 * 30), min_size=1, max_size=200, unique=True))
def test_versions_of_the_hour_stay_then_one_of_each_hour_then_one_of_each_day(ages: list[int]) -> None:
    versions = [(n, NOW - timedelta(minutes=age)) for n, age in enumerate(sorted(ages, reverse=True), start=1)]
    gone = set(surplus(versions, NOW))
    left = [(n, created) for n, created in versions if n not in gone]
    assert {n for n, created in versions if created > NOW - timedelta(hours=1)} <= {n for n, _ in left}
    assert {created.date() for _, created in versions} == {created.date() for _, created in left}
    assert len(left) <= 60 + 25 + 31
    assert surplus(left, NOW) == []


def test_parts_go_by_when_they_were_logged_whatever_their_event_times() -> None:
    old, new = (Part("a", 1, 1, NOW, NOW, source(NOW - timedelta(days=age))) for age in (8, 6))
    foreign = Part("b", 1, 1)
    assert kept([old, new, foreign], timedelta(days=7), NOW) == (new, foreign)
    assert kept([old], None, NOW) == (old,)
