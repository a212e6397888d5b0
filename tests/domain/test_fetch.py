"""When a source is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain import fetch
from conveyor.domain.fetch import FetchReport, FetchState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def hourly(after: datetime) -> datetime:
    return after.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def test_by_every() -> None:
    state = FetchState("d", started=NOW)
    assert fetch.due(state, MINUTE, None, NOW)  # the first one
    state = fetch.started(state, NOW)
    assert not fetch.due(state, MINUTE, None, NOW + MINUTE / 2)
    assert fetch.due(state, MINUTE, None, NOW + MINUTE)
    more = fetch.ended(state, FetchReport(5, (), 7, more=True))
    assert fetch.due(more, MINUTE, None, NOW)
    assert more.cursor == 7


def test_by_schedule_missed_ticks_are_one() -> None:
    state = FetchState("d", started=NOW + MINUTE)
    assert not fetch.due(state, None, hourly, NOW + 2 * MINUTE)
    assert fetch.due(state, None, hourly, NOW + timedelta(hours=5))
    state = fetch.started(state, NOW + timedelta(hours=5))
    assert not fetch.due(state, None, hourly, NOW + timedelta(hours=5, minutes=1))


@given(st.integers(1, 50))
def test_failures_are_waited_for_longer_each_time_up_to_an_hour(failures: int) -> None:
    state = FetchState("d", started=NOW, fetches=1)
    for _ in range(failures):
        state = fetch.failed(state)
    wait = min(timedelta(seconds=10) * 2 ** min(failures - 1, 20), timedelta(hours=1))
    assert not fetch.due(state, MINUTE, None, NOW + wait - timedelta(seconds=1))
    assert fetch.due(state, MINUTE, None, NOW + wait)
    assert fetch.ended(state, FetchReport(0, (), None)).failures == 0


@pytest.mark.parametrize("cursor", [None, 5, "2018-04-01", {"page": 3}])
def test_what_failed_goes_on_from_the_same_cursor(cursor: object) -> None:
    state = FetchState("d", cursor=cursor, started=NOW, fetches=3)
    assert fetch.failed(fetch.started(state, NOW)).cursor == cursor
