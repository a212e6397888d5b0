from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from conveyor.domain import wire
from conveyor.domain.monitor import Quality, decay
from conveyor.domain.observation import Prediction
from conveyor.domain.project import MonitorConfig
from conveyor.errors import CorruptObject
from conveyor.monitoring.quality import SCORED, joined, measured, quality, sampled, scored


def prediction(id: str, scores: list[float], keys: tuple[str, ...] = (), times: tuple[int, ...] = (), at: float = 10.0):
    raw = np.array(scores, np.float32).tobytes()
    return Prediction(id, at, "fraud", 3, len(scores), b"", raw, keys, times)


def test_scored_rows_have_key_or_prediction_id_times_and_version():
    frame = scored(
        [
            prediction("a", [0.5], ("17",), (1_525_000_000_000_000,), at=1_525_000_001.25),
            prediction("b", [0.1, 0.2]),
            prediction("c", [0.3]),
            Prediction("d", 1.0, "fraud", 3, 1, b"", b"\0\0\0\0", mark="shadow"),
        ]
    )
    assert dict(frame.schema) == SCORED
    assert frame["id"].to_list() == ["a", "b/0", "b/1", "c", "d"]
    assert frame["key"].to_list() == ["17", None, None, None, None]
    assert frame["mark"].to_list() == [*[""] * 4, "shadow"]
    ten = datetime.fromtimestamp(10, UTC)  # one without an event time means now
    assert frame["time"].to_list()[:4] == [datetime.fromtimestamp(1_525_000_000, UTC), ten, ten, ten]
    assert frame["at"][0] == datetime.fromtimestamp(1_525_000_001.25, UTC)
    assert frame["score"].to_list()[:4] == pytest.approx([0.5, 0.1, 0.2, 0.3])
    assert dict(scored([]).schema) == SCORED
    with pytest.raises(CorruptObject, match="prediction x says 2 rows, but has 8 bytes of scores, 1 keys"):
        scored([prediction("x", [0.1, 0.2], ("1",))])


def test_a_key_counts_once_by_its_newest_score_and_last_label_and_only_once_labelled():
    predictions = scored(
        [
            prediction("b", [0.9], ("1",), at=20.0),
            prediction("a", [0.1, 0.2, 0.3], ("1", "2", "3"), at=10.0),
        ]
    )
    labels = pl.DataFrame({"TX": [1, 2, 3, 3, 4], "FRAUD": [1, None, 0, 1, 1], "other": 0})
    frame = joined(predictions, labels, key="TX", label="FRAUD").sort("key")
    assert frame["key"].to_list() == ["1", "3"]
    assert frame["score"].to_list() == pytest.approx([0.9, 0.3])
    assert frame["label"].to_list() == [1.0, 1.0]


def test_quality_is_the_metric_with_an_interval_and_a_fall_is_decay():
    random = np.random.default_rng(0)
    truth = (random.random(20_000) < 0.02).astype(float)
    scores = np.clip(0.5 * truth * random.random(20_000) + random.beta(1, 9, 20_000), 0, 1)
    found = quality(scores, truth)
    assert found.value == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert found.low < found.value < found.high
    assert (found.rows, found.positives, found.enough) == (20_000, int(truth.sum()), True)
    assert decay(found, found.value + 0.01, MonitorConfig()) is None
    assert decay(found, found.value * 2, MonitorConfig()) is not None


def test_quality_that_is_undefined_says_so_and_can_be_kept():
    none = quality([0.1, np.nan], [0.0, 1.0])
    assert (none.rows, none.positives, none.value, none.enough) == (1, 0, None, False)
    assert wire.from_json(wire.to_json(none), Quality) == none


def test_a_joined_frame_is_measured_as_a_record():
    at = 1_525_000_000_000_000
    predictions = scored([prediction("a", [0.9, 0.1, 0.8], ("1", "2", "3"), (at, at + 1, at + 2))])
    labels = pl.DataFrame({"TX": ["1", "2", "3"], "FRAUD": [True, False, False]})
    frame = joined(predictions, labels, key="TX", label="FRAUD")
    found = measured(frame, id="q1", model="shop/fraud", version=3, metric="average_precision")
    assert (found.id, found.model, found.version, found.rows, found.value) == ("q1", "shop/fraud", 3, 3, 1.0)
    assert found.first == datetime.fromtimestamp(1_525_000_000, UTC)
    assert (found.last - found.first).microseconds == 2
    assert wire.from_json(wire.to_json(found), Quality) == found


def test_a_sample_is_by_id_and_the_same_each_time():
    frame = scored([prediction(f"{n:x}", [n % 2]) for n in range(20_000)])
    kept = sampled(frame, 0.1)
    assert kept.height == pytest.approx(2_000, rel=0.1)
    assert kept["score"].mean() == pytest.approx(0.5, abs=0.04)
    assert sampled(kept, 0.1).equals(kept)
    assert sampled(frame, 1.0) is frame
