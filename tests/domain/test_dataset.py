from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.contract import Rule, RuleKind, rules_of
from conveyor.domain.dataset import Manifest, Part, known_until, utc

DAY = datetime(2018, 4, 1)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


@given(times, st.timedeltas(timedelta(0), timedelta(days=400)), times)
def test_a_label_is_known_exactly_when_its_delay_has_passed(last: datetime, delay: timedelta, event: datetime) -> None:
    assert (utc(event) <= known_until(last, delay)) == (event + delay <= last)


def test_a_naive_time_is_utc_and_an_aware_one_is_converted() -> None:
    there = timezone(timedelta(hours=2))
    assert known_until(DAY, timedelta(days=7)) == datetime(2018, 3, 25, tzinfo=UTC)
    assert utc(datetime(2018, 4, 1, 2, tzinfo=there)) == utc(DAY)


def parts(*days: int) -> Manifest:
    made = [
        Part(f"d{n}", 10, 100, DAY + timedelta(days=n), DAY + timedelta(days=n, hours=23), f"{n}", f"s{n}")
        for n in days
    ]
    return Manifest((*made, Part("timeless", 1, 10)))


def test_a_manifest_sums_up_its_parts_and_knows_the_files_it_took() -> None:
    manifest = parts(2, 0, 1)
    assert (manifest.rows, manifest.bytes) == (31, 310)
    assert (manifest.first, manifest.last) == (utc(DAY), utc(DAY + timedelta(days=2, hours=23)))
    taken = manifest.holds("s1")
    assert taken is not None
    assert taken.source == "1"
    assert manifest.holds("s9") is None
    assert (Manifest().rows, Manifest().last) == (0, None)


@given(st.integers(0, 9 * 24), st.integers(0, 9 * 24))
def test_pruning_never_drops_a_part_that_may_hold_a_row_asked_for(since: int, hours: int) -> None:
    whole = parts(*range(10))
    first, last = DAY + timedelta(hours=since), DAY + timedelta(hours=since + hours)
    kept = whole.within(first, last).parts
    for part in whole.parts:
        touches = part.first is None or part.last is None or (part.last >= first and part.first <= last)
        assert (part in kept) == touches
    assert whole.within(None, None) == whole


def test_inline_rules_become_rules_that_explain_themselves() -> None:
    rules = rules_of({"AMOUNT": {"min": 0, "not_null": True, "unique": False}, "KIND": {"one_of": ["a", "b"]}})
    assert rules == (
        Rule("AMOUNT", RuleKind.MIN, 0),
        Rule("AMOUNT", RuleKind.NOT_NULL, True),
        Rule("KIND", RuleKind.ONE_OF, ["a", "b"]),
    )
    assert rules[0].name == "AMOUNT:min"
    assert rules[0].reason(-3.5) == "AMOUNT = -3.5 must be at least 0"
    assert rules[1].reason(None) == "AMOUNT must not be null"
