from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.death import EVERY, Death, Obituary, Tally, tell

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_first_is_told_at_once_and_then_one_a_minute_with_a_count() -> None:
    killed, failed = Death("web", "terminated by SIGKILL"), Death("web", "exit status 3")
    tallies, told = tell({}, [killed], NOW)
    assert told == [Obituary("web", "terminated by SIGKILL", 1)]
    tallies, told = tell(tallies, [killed, failed, Death("api", "exit status 1")], NOW + timedelta(seconds=10))
    assert told == [Obituary("api", "exit status 1", 1)]
    tallies, told = tell(tallies, [], NOW + EVERY)
    assert told == [Obituary("web", "exit status 3", 2)]
    tallies, told = tell(tallies, [], NOW + 2 * EVERY)
    assert told == []
    assert set(tallies) == set()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=60))
def test_every_death_is_counted_once_and_no_process_is_told_of_twice_a_minute(deaths: list[tuple[str, int]]) -> None:
    tallies: dict[str, Tally] = {}
    counted = dict.fromkeys("abc", 0)
    last: dict[str, datetime] = {}
    now = NOW
    for name, wait in [*deaths, ("", 60), ("", 60)]:
        now += timedelta(seconds=wait)
        tallies, told = tell(tallies, [Death(name, "x")] if name else [], now)
        for obituary in told:
            assert now - last.get(obituary.name, now - EVERY) >= EVERY
            last[obituary.name] = now
            counted[obituary.name] += obituary.times
    assert counted == {each: sum(name == each for name, _ in deaths) for each in "abc"}
