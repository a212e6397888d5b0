"""The four keys of histories that can be worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.dora import Dora, Keys, Spread, figures
from conveyor.domain.events import CATALOGUE, Event

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=10)
A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
PLACE, PROJECT, MODEL = "environment/shop/production", "project/shop", "model/shop/fraud"


class History:
    """Minutes after the start, and what happened then."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, minute: float, type_: str, subject: str, project: str = "shop", **data: Any) -> None:
        seq = len(self.events) + 1
        self.events.append(Event(f"e{seq}", type_, subject, START + timedelta(minutes=minute), project, data, seq * 10))

    def push(self, minute: float, commit: str, branch: str = "main") -> None:
        self.tell(minute, "code.pushed", PROJECT, branch=branch, commit=commit)

    def made(self, minute: float, number: int, commit: str, reason: str = "", **models: int) -> None:
        self.tell(minute, "release.created", PLACE, release=number, commit=commit, models=models, reason=reason)

    def enter(self, minute: float, number: int, phase: str, percent: int) -> None:
        self.tell(minute, "rollout.advanced", PLACE, release=number, phase=phase, percent=percent)

    def live(self, minute: float, number: int) -> None:
        self.enter(minute, number, "live", 100)

    def abort(self, minute: float, number: int, target: str, back_to: int | None) -> None:
        self.tell(minute, "rollout.aborted", PLACE, release=number, target=target, phase="canary", reason="5xx")
        self.enter(minute, number, "aborting", 0)
        self.tell(minute + 1, "rollout.rolled_back", PLACE, release=number, back_to=back_to, reason="5xx")

    def trained(self, minute: float, version: int, trigger: str = "data") -> None:
        self.tell(minute, "run.started", f"run/r{version}", kind="train", about="shop/fraud")
        self.tell(minute + 4, "model.version_created", MODEL, version=version, run=f"r{version}", trigger=trigger)

    def dora(self, since: datetime = START, until: datetime = END) -> Dora:
        return figures(self.events, "shop", "production", since, until)


def spread(*minutes: float) -> Spread:
    """Of up to two values: their mean is the median, the larger one the 90th percentile."""
    seconds = [60 * each for each in minutes]
    return Spread(len(seconds), sum(seconds) / len(seconds), max(seconds)) if seconds else Spread()


def keys(deployments: int, lead: Spread, tried: int, failed: int, restore: Spread, unrestored: int = 0) -> Keys:
    rate = failed / tried if tried else None
    return Keys(deployments, deployments / 10, lead, tried, failed, rate, restore, unrestored)


def test_nothing_happened() -> None:
    none = keys(0, Spread(), 0, 0, Spread())
    assert History().dora() == Dora("shop", "production", START, END, none, none)


def test_code_that_goes_live_fails_and_comes_back() -> None:
    told = History()
    told.push(0, A)
    told.made(5, 1, A)
    told.live(10, 1)  # 10 minutes after the push
    told.push(20, B)  # never live by itself: its tests failed
    told.push(40, "e" * 40, branch="idea")
    told.push(50, C)
    told.made(55, 2, C)
    told.enter(56, 2, "shadow", 0)
    told.enter(57, 2, "canary", 10)
    told.live(60, 2)  # brings B (40 min) and C (10 min)
    told.push(100, D)
    told.made(104, 3, D)
    told.enter(105, 3, "canary", 10)
    told.abort(111, 3, "service.web", 2)  # traffic at 105, back at 112
    dora = told.dora()
    # Deployed: 1 and 2. With traffic: 1, 2 and 3. Leads 10, 40, 10: median 10, 90th percentile 40.
    assert dora.code == keys(2, Spread(3, 600.0, 2400.0), 3, 1, spread(7))
    assert dora.models == keys(0, Spread(), 0, 0, Spread())
    # The same history, asked about its second half: what was pushed in the first counts when it goes live.
    later = told.dora(START + timedelta(minutes=58), START + timedelta(minutes=120)).code
    assert (later.deployments, later.lead_time.count, later.tried, later.failed) == (1, 2, 1, 1)
    before = told.dora(START, START + timedelta(minutes=58)).code
    assert (before.deployments, before.lead_time.count, before.tried, before.failed) == (1, 1, 2, 0)


def test_what_never_had_traffic_is_no_failed_change() -> None:
    told = History()
    told.made(0, 1, A)
    told.live(1, 1)
    told.made(10, 2, B)
    told.enter(11, 2, "start", 0)
    told.abort(12, 2, "service.web", 1)
    assert told.dora().code == keys(1, Spread(), 1, 0, Spread())


def test_a_person_goes_back() -> None:
    told = History()
    told.push(0, A)
    told.made(1, 1, A)
    told.live(2, 1)
    told.push(30, B)
    told.made(31, 2, B)
    told.live(32, 2)
    told.tell(100, "build.rejected", PLACE, build="x", reason="asked for")
    told.made(101, 3, A, reason="back to release 1: asked for")
    told.live(103, 3)
    # Deployments: 1 and 2; the way back is none, and has no lead time. Release 2 failed: 3 minutes until A was back.
    assert told.dora().code == keys(2, spread(2, 2), 2, 1, spread(3))


def test_a_model_from_data_to_live_and_its_decay() -> None:
    told = History()
    told.push(0, A)
    told.tell(1, DATA, "data/shop/payments", version=1)
    told.trained(3, 1)
    told.made(10, 1, A, fraud=1)
    told.live(11, 1)  # code: 11 minutes; model: 10 minutes from the data
    told.tell(20, DATA, "data/shop/payments", version=2)
    told.tell(30, "signal.decay", MODEL, version=1, message="decay")
    told.tell(35, "signal.decay", MODEL, version=1, message="decay, still")
    told.trained(40, 2, trigger="decay")
    told.made(50, 2, A, fraud=2)
    told.enter(51, 2, "canary", 25)
    told.live(60, 2)  # 20 minutes from the training's beginning; decayed for 30
    told.trained(70, 3)
    told.made(80, 3, A, fraud=3)
    told.enter(81, 3, "canary", 25)
    told.abort(83, 3, "model.fraud", 2)
    told.tell(90, "signal.data_fault", MODEL, version=2, message="nulls")
    told.tell(91, "signal.decay", "model/shop/other", version=1, message="not in this environment")
    dora = told.dora()
    assert dora.models == keys(2, spread(10, 20), 3, 1, spread(30, 3), unrestored=1)
    assert dora.code == keys(1, spread(11), 1, 0, Spread())


def test_a_first_release_that_fails_lasts_until_one_is_live() -> None:
    told = History()
    told.made(0, 1, A)
    told.live(1, 1)
    told.abort(3, 1, "service.web", None)
    assert told.dora().code == keys(1, Spread(), 1, 1, Spread(), unrestored=1)
    told.made(20, 2, B)
    told.live(21, 2)
    assert told.dora().code == keys(2, Spread(), 2, 1, spread(20))


def test_other_settings_are_a_change_of_code() -> None:
    told = History()
    told.made(0, 1, A, fraud=1)
    told.live(1, 1)
    told.made(10, 2, A, fraud=1)  # a secret changed
    told.live(11, 2)
    dora = told.dora()
    assert (dora.code.deployments, dora.models.deployments) == (2, 1)


DATA = "data.version_created"
ELSEWHERE = ("environment/shop/staging", "environment/other/production", "run/zz", "model/other/fraud", "control")
_any = st.fixed_dictionaries({"release": st.integers(1, 4), "phase": st.sampled_from(["canary", "live"])}).map(
    lambda data: data | {"percent": 100, "commit": D, "models": {"fraud": 9}, "version": 9, "branch": "x", "run": "zz"}
)
_TYPES = sorted(set(CATALOGUE) - {"code.pushed", "run.started", "model.version_created", DATA})


@given(
    st.lists(st.tuples(st.floats(0, 200), st.sampled_from(_TYPES), st.sampled_from(ELSEWHERE), _any), max_size=12),
    st.randoms(use_true_random=False),
)
def test_what_happens_elsewhere_changes_nothing(
    more: list[tuple[float, str, str, dict[str, Any]]], random: Any
) -> None:
    told = _story()
    expected = told.dora()
    strange = [
        Event(f"x{n}", type_, subject, START + timedelta(minutes=minute), "shop" if n % 2 else "other", data, n * 7 + 1)
        for n, (minute, type_, subject, data) in enumerate(more)
    ]
    mixed = [*told.events, *strange]
    random.shuffle(mixed)
    assert figures(mixed, "shop", "production", START, END) == expected


@given(st.integers(0, 200))
def test_two_windows_side_by_side_count_what_one_counts(minute: int) -> None:
    told, cut = _story(), START + timedelta(minutes=minute, seconds=1)
    whole, first, second = told.dora(), told.dora(START, cut), told.dora(cut, END)
    for side in ("code", "models"):
        sums = [
            (k.deployments, k.tried, k.lead_time.count, k.restore.count)
            for k in (getattr(each, side) for each in (whole, first, second))
        ]
        assert sums[0] == tuple(a + b for a, b in zip(sums[1], sums[2], strict=True))


def _story() -> History:
    told = History()
    told.push(0, A)
    told.trained(1, 1)
    told.made(10, 1, A, fraud=1)
    told.live(12, 1)
    told.push(30, B)
    told.made(35, 2, B, fraud=1)
    told.enter(36, 2, "canary", 5)
    told.abort(40, 2, "", 1)
    told.push(50, C)
    told.trained(55, 2)
    told.made(65, 3, C, fraud=2)
    told.live(70, 3)
    told.tell(80, "model.rejected", MODEL, version=2, reason="asked for")
    told.made(81, 4, A, reason="back to release 1: asked for", fraud=1)
    told.live(90, 4)
    return told


@pytest.mark.parametrize("missing", ["code.pushed", "run.started", "model.version_created"])
def test_what_is_not_on_record_is_not_made_up(missing: str) -> None:
    told = _story()
    told.events = [event for event in told.events if event.type != missing]
    dora, whole = told.dora(), _story().dora()
    assert (dora.code.deployments, dora.models.deployments) == (whole.code.deployments, whole.models.deployments)
    assert (dora.code.lead_time.count == 0) == (missing == "code.pushed")
    assert (dora.models.lead_time.count == 0) == (missing != "code.pushed")
