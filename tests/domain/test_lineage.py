"""The walk over any links, against reachability as networks define it; and stretches of event time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.lineage import ALWAYS, Kind, Node, months, overlaps, walk

TIMES = st.datetimes(datetime(2015, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))
PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def node(number: int) -> Node:
    return Node(str(number), Kind.DATA, str(number), "")


def reach(start: int, pairs: set[tuple[int, int]]) -> set[int]:
    found, before = {start}, set[int]()
    while found != before:
        before = set(found)
        found |= {b for a, b in pairs if a in found}
    return found


@given(st.integers(0, 9), PAIRS)
def test_a_walk_finds_all_causes_and_effects_and_ends(start: int, links: list[tuple[int, int]]) -> None:
    pairs = set(links)
    found = walk(
        [node(start)],
        before=lambda n: [node(a) for a, b in links if b == int(n.id)],
        after=lambda n: [node(b) for a, b in links if a == int(n.id)],
        most=1000,
    )
    ids = [int(each.id) for each in found.nodes]
    assert ids[0] == start
    assert len(set(ids)) == len(ids)
    assert set(ids) == reach(start, pairs) | reach(start, {(b, a) for a, b in pairs})
    assert {(int(a), int(b)) for a, b in found.links} <= pairs
    assert not found.truncated


@given(st.integers(2, 50))
def test_a_walk_is_bounded_and_says_so(most: int) -> None:
    found = walk([node(0)], before=lambda n: [], after=lambda n: [node(int(n.id) + 1)], most=most)
    assert len(found.nodes) <= most
    assert found.truncated


@given(TIMES, TIMES, TIMES, TIMES)
def test_what_overlaps_shares_a_month(first: datetime, last: datetime, after: datetime, until: datetime) -> None:
    first, last, after, until = *sorted((first, last)), *sorted((after, until))
    if overlaps(first, last, after, until):
        assert set(months(first, last)) & set(months(after, until))
    assert not overlaps(until + timedelta(microseconds=1), None or until + timedelta(days=1), after, until)
    assert overlaps(None, None, after, until)
    assert months(None, last) == [ALWAYS]
