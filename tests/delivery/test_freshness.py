"""Freshness over records and a stepped clock: told once, shown, and taken back when rows come or nobody asks."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from conveyor.delivery.desk import Desk
from conveyor.delivery.freshness import Freshness
from conveyor.delivery.rows import Rows
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.freshness import Stale, judge
from conveyor.domain.narrative import sentence
from conveyor.domain.status_text import render
from conveyor.stores.collections import DATASET_VERSIONS
from conveyor.stores.rowlog import RowLog

from .conftest import START, Plane

HOUR = timedelta(hours=1)


def test_it_is_told_once_shown_and_taken_back(plane: Plane) -> None:
    context = plane.context()
    plane.build('[data.days]\nfresh = "2h"\n[data.other]\n')
    desk = Desk(context, lambda: None, lambda: True, dict, Rows(context, RowLog(context.settings.rows, 1 << 20)))
    watch = Freshness(context)

    def told(step: timedelta) -> list[tuple[str, str]]:
        plane.clock.step(step)
        before = len(plane.events("signal.stale", "signal.fresh"))
        assert context.renew()
        for _ in range(3):
            watch.turn()
        return [(e.type, sentence(e)) for e in plane.events("signal.stale", "signal.fresh")[before:]]

    def come(number: int) -> None:
        with context.transaction() as tx:
            version = DatasetVersion("shop", "days", number, None, "m", 9, 1, {}, plane.clock.now())
            tx.put(DATASET_VERSIONS, version)

    assert told(HOUR) == []  # counted from the build, while there is no version
    assert told(HOUR) == [
        ("signal.stale", "Stale: nothing new came for days since 2026-06-01 00:00 UTC, longer than 2h."),
    ]
    assert told(HOUR) == []
    assert "data days: empty; STALE: nothing new since 2026-06-01 00:00" in render(desk.status(), plane.clock.now())
    come(1)
    assert [type_ for type_, _ in told(HOUR)] == ["signal.fresh"]
    assert "STALE" not in render(desk.status(), plane.clock.now())
    watch = Freshness(context)  # a control plane that starts now
    assert told(HOUR / 2) == []
    assert [type_ for type_, _ in told(HOUR)] == ["signal.stale"]
    watch = Freshness(context)
    assert told(24 * HOUR) == []
    plane.build("[data.days]\n")
    assert told(HOUR) == [("signal.fresh", "days is not asked to be fresh any more.")]


@given(st.integers(1, 50), st.integers(0, 200), st.lists(st.integers(0, 100), min_size=1))
def test_what_is_told_alternates_and_is_true(fresh: int, newest: int, looks: list[int]) -> None:
    known: Stale | None = None
    now = came = START + newest * HOUR
    for step in looks:
        now += step * HOUR
        if step % 7 == 0:
            came = now
        found = judge("shop/days", fresh * HOUR, came, known, now)
        assert (found.stale is not None) == (now - came >= fresh * HOUR)
        if not found.changed:
            assert found.stale == known
        if found.stale is None:
            assert found.due == came + fresh * HOUR
        known = found.stale
