from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain import statistics, wire
from conveyor.domain.contract import rules_of
from conveyor.domain.drift import Profile
from conveyor.domain.monitor import SignalKind, signals
from conveyor.domain.observation import Prediction
from conveyor.domain.project import MonitorConfig
from conveyor.errors import CorruptObject
from conveyor.monitoring.open_window import OpenWindow
from conveyor.monitoring.windows import close, observe

NAMES = ("amount", "count", "risk", "weekend", "night", "plain")
DAY = 9_500


def traffic(random: np.random.Generator, start: int, rows: int) -> np.ndarray:
    """Rows `start`.. of a stationary stream with a calendar: float32 [rows, 6]."""
    place = np.arange(start, start + rows)
    hour = place % DAY / DAY * 24
    return np.column_stack(
        [
            random.lognormal(3, 1, rows),
            random.poisson(2, rows),
            np.where(random.random(rows) < 0.95, 0.0, random.random(rows)),
            (place // DAY % 7 >= 5),
            hour < 6,
            random.normal(0, 1, rows),
        ]
    ).astype(np.float32)


def profiled(matrix: np.ndarray, names: tuple[str, ...] = NAMES) -> Profile:
    made = {name: statistics.profile(matrix[:, place]) for place, name in enumerate(names)}
    return Profile(len(matrix), made, statistics.profile(matrix[:, 0] / 1000))


def predictions(matrix: np.ndarray, rows: int = 1, at: float = 1_525_000_000.0) -> list[Prediction]:
    return [
        Prediction(
            id=f"p{start}",
            at=at + start,
            model="fraud",
            version=3,
            rows=len(part),
            features=part.tobytes(),
            scores=(part[:, 0] / 1000).astype(np.float32).tobytes(),
            times=tuple(1_525_000_000_000_000 + start + row for row in range(len(part))),
        )
        for start in range(0, len(matrix), rows)
        for part in [np.ascontiguousarray(matrix[start : start + rows])]
    ]


CONFIG = MonitorConfig(rows=5000)


def test_200_windows_of_unchanged_traffic_give_no_signal_though_days_and_weekends_pass():
    random = np.random.default_rng(4)
    profile = profiled(traffic(random, 0, 7 * DAY))
    window, closed = OpenWindow("shop/fraud", 3), []
    for start in range(0, 200 * 5000, 20_000):
        batch = predictions(traffic(random, start, 20_000), rows=1000)
        window, more = observe(window, batch, profile, NAMES, CONFIG)
        closed += more
    assert [each.number for each in closed] == list(range(1, 201))
    assert {each.rows for each in closed} == {5000}
    assert [signal.message for each in closed for signal in signals(each, CONFIG)] == []
    assert max(each.psi["weekend"] for each in closed) > 0.25, "the calendar alone passes the threshold"
    assert max(each.psi["plain"] for each in closed) < 0.02


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_an_injected_shift_of_one_feature_is_found_and_that_feature_named(place):
    random = np.random.default_rng(place)
    profile = profiled(traffic(random, 0, 7 * DAY))
    matrix = traffic(random, 0, 5000)
    matrix[:, place] = np.abs(matrix[:, place]) * 2 + 0.7
    _, (closed,) = observe(OpenWindow("shop/fraud", 3), predictions(matrix, 50), profile, NAMES, CONFIG)
    blamed = {signal.kind: signal.features for signal in signals(closed, CONFIG)}
    assert NAMES[place] in {name for features in blamed.values() for name in features}
    assert {name for features in blamed.values() for name in features} == {NAMES[place]}


def test_nulls_and_a_stuck_feature_are_data_faults():
    random = np.random.default_rng(1)
    profile = profiled(traffic(random, 0, 7 * DAY))
    matrix = traffic(random, 0, 5000)
    matrix[:200, 5] = np.nan
    matrix[:, 1] = 2
    _, (closed,) = observe(OpenWindow("shop/fraud", 3), predictions(matrix, 7), profile, NAMES, CONFIG)
    found = {signal.kind: signal for signal in signals(closed, CONFIG)}
    assert set(found[SignalKind.DATA_FAULT].features) == {"plain", "count"}
    assert "plain is missing in 4.0% of rows" in found[SignalKind.DATA_FAULT].message
    assert "count is 2 in every row" in found[SignalKind.DATA_FAULT].message
    assert SignalKind.DRIFT not in found


def test_rows_that_break_the_contract_are_counted_and_a_data_fault_where_they_are_many():
    random = np.random.default_rng(3)
    matrix = traffic(random, 0, 5000)
    profile, rules = (
        profiled(matrix),
        rules_of({"plain": {"min": -2}, "night": {"one_of": [0, 1]}, "count": {"max": 50}}),
    )
    few = int((matrix[:, 5] < -2).sum())
    assert 0.01 * 5000 < few < 0.05 * 5000
    matrix[:40, 4] = 3
    _, (closed,) = observe(OpenWindow("shop/fraud", 3), predictions(matrix, 7), profile, NAMES, CONFIG, rules)
    assert closed.skew == {"plain:min": few, "night:one_of": 40}
    (fault,) = [signal for signal in signals(closed, CONFIG) if signal.kind is SignalKind.DATA_FAULT]
    assert fault.features == ("plain",)  # 40 of 5,000 rows are too few to call the source faulty
    assert f"plain breaks the contract's rule min in {few / 5000:.1%} of rows" in fault.message
    assert fault.figures["plain:min"] == few / 5000


def test_scores_that_are_not_finite_are_counted_and_named():
    matrix = traffic(np.random.default_rng(2), 0, 5000)
    profile = profiled(matrix)
    batch = predictions(matrix, 100)
    batch[0] = replace(batch[0], scores=np.full(100, np.nan, np.float32).tobytes())
    _, (closed,) = observe(OpenWindow("shop/fraud", 3), batch, profile, NAMES, CONFIG)
    assert closed.nonfinite == 100
    assert "100 scores are NaN or infinite" in signals(closed, CONFIG)[0].message


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(sizes, sizes, st.integers(1, 60))
@settings(deadline=None, max_examples=40)
def test_windows_do_not_depend_on_how_rows_were_batched_polled_or_kept_between_polls(first, second, size):
    matrix = traffic(np.random.default_rng(0), 0, min(sum(first), sum(second)))
    profile, config = profiled(matrix), MonitorConfig(rows=size)

    def run(cuts: list[int]):
        window, closed, start = OpenWindow("shop/fraud", 3), [], 0
        for cut in cuts:
            batch = predictions(matrix, rows=1)[start : start + cut]
            window, more = observe(window, batch, profile, NAMES, config)
            window = wire.from_json(wire.to_json(window), OpenWindow)
            closed += more
            start += cut
        return window, [wire.from_json(wire.to_json(each), type(each)) for each in closed]

    (open_a, closed_a), (open_b, closed_b) = run(first), run(second)
    assert [each.rows for each in closed_a] == [size] * (len(matrix) // size)
    assert [(each.psi, each.first, each.last_event) for each in closed_a] == [
        (each.psi, each.first, each.last_event) for each in closed_b
    ]
    assert (open_a.rows, open_a.number) == (open_b.rows, open_b.number) == (len(matrix) % size, len(closed_a) + 1)
    assert {n: t.counts for n, t in open_a.features.items()} == {n: t.counts for n, t in open_b.features.items()}


def test_a_closed_window_equals_plain_counting():
    random = np.random.default_rng(3)
    profile = profiled(traffic(random, 0, 3 * DAY))
    matrix = traffic(random, 100, 5000)
    _, (closed,) = observe(OpenWindow("shop/fraud", 3), predictions(matrix, 33), profile, NAMES, CONFIG)
    for place, name in enumerate(NAMES):
        reference = profile.features[name]
        bins = np.digitize(matrix[:, place].astype(float), reference.edges, right=True)
        counts = [int((bins == each).sum()) for each in range(len(reference.counts))]
        expected = statistics.psi([*reference.counts, 0], [*counts, 0])
        assert closed.psi[name] == pytest.approx(expected, abs=1e-12)
        assert closed.features[name].mean == pytest.approx(float(matrix[:, place].mean(dtype=float)), rel=1e-9)
    assert closed.mean_score == pytest.approx(float(matrix[:, 0].mean(dtype=float)) / 1000, rel=1e-5)
    assert (closed.first, closed.first_event) == (datetime.fromtimestamp(1_525_000_000, UTC),) * 2
    assert closed.id == "shop/fraud@3#1"


def test_shadow_and_empty_predictions_are_left_out_and_damage_is_refused():
    matrix = traffic(np.random.default_rng(0), 0, 10)
    profile, batch = profiled(matrix), predictions(matrix, 5)
    window, closed = observe(
        OpenWindow("shop/fraud", 3), [replace(batch[0], mark="shadow"), batch[1]], profile, NAMES, CONFIG
    )
    assert (window.rows, closed) == (5, ())
    assert observe(window, [], profile, NAMES, CONFIG) == (window, ())
    with pytest.raises(CorruptObject, match="prediction p0 says 5 rows of 6 features, but holds 4 bytes"):
        observe(window, [replace(batch[0], features=b"1234")], profile, NAMES, CONFIG)


def test_open_windows_merge_in_any_order_and_refuse_what_is_not_theirs():
    matrix = traffic(np.random.default_rng(0), 0, 60)
    profile, batch = profiled(matrix), predictions(matrix, 5)
    parts = [observe(OpenWindow("m", 1), batch[k : k + 4], profile, NAMES, CONFIG)[0] for k in (0, 4, 8)]
    forth, back = parts[0].add(parts[1]).add(parts[2]), parts[2].add(parts[1]).add(parts[0])
    assert forth.rows == 60
    assert close(forth, profile).psi == close(back, profile).psi
    assert (forth.first, forth.last) == (back.first, back.last)
    with pytest.raises(ValueError, match="cannot be added"):
        parts[0].add(OpenWindow("m", 2))
