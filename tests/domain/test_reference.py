from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.reference import Reference, is_tag, newest_at, parse
from conveyor.errors import InputRejected

START = datetime(2018, 4, 1, tzinfo=UTC)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
tags = st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True).filter(is_tag)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-11, minutes=-30))])
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones)
references = st.one_of(
    st.builds(Reference, names, st.just("") | names),
    st.builds(Reference, names, st.just("") | names, version=st.integers(1, 10**9 - 1)),
    st.builds(Reference, names, st.just("") | names, tag=tags),
    st.builds(Reference, names, st.just("") | names, moment=moments),
)


@given(references)
def test_what_is_written_is_read_back(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?@?[a-z0-9:T.Z+-]{0,25}", fullmatch=True))
def test_any_text_is_either_one_reference_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except InputRejected:
        return
    assert parse(str(found)) == found
    assert sum(bool(part) for part in (found.version, found.tag, found.moment)) <= 1


def test_the_forms() -> None:
    assert parse("payments") == parse("payments@latest") == Reference("payments")
    assert parse("shop/payments@v12") == Reference("payments", "shop", version=12)
    assert parse("payments@golden.1").tag == "golden.1"
    for text in (
        "2018-04-01",
        "2018-04-01T00:00",
        "2018-04-01 00:00:00",
        "2018-04-01T02:00+02:00",
        "2018-04-01T00:00Z",
    ):
        assert parse(f"payments@{text}").moment == START, text
    for text in (
        "", "@v1", "payments@", "payments@v0", "payments@V1", "payments@12", "payments@2018-13-01", "payments@a@b",
        "payments@2018-04-01T25:00", "../payments", "a/b/c", "payments@../x", "Payments", "x" * 5000, "payments@\n",
        "payments@0001-01-01T00:00+10:00", "payments\n", "payments@v1234567890",
    ):  # fmt: skip
        with pytest.raises(InputRejected):
            parse(text)


@given(st.lists(st.none() | st.integers(0, 50), max_size=40), st.integers(-1, 51))
def test_the_newest_known_then_is_found_though_versions_are_gone(hours: list[int | None], asked: int) -> None:
    present = iter(sorted(hour for hour in hours if hour is not None))
    ordered = [None if hour is None else next(present) for hour in hours]
    created = {n: START + timedelta(hours=hour) for n, hour in enumerate(ordered, start=1) if hour is not None}
    moment = START + timedelta(hours=asked)
    wanted = max((n for n, when in created.items() if when <= moment), default=None)
    assert newest_at(moment, len(ordered), created.get) == wanted
