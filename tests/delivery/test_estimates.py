"""Estimates before labels, over real records, segments and objects: by window, compared with labels, learned from."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from conveyor.delivery.monitor import Monitor
from conveyor.domain import wire
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.drift import Profile
from conveyor.domain.measures import expected
from conveyor.domain.model import Example, ModelManifest, ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.observation import Prediction, encode
from conveyor.domain.release import Environment, Release
from conveyor.domain.statistics import compute
from conveyor.engine.context import Context
from conveyor.stores import collections as c
from conveyor.stores import manifests

from .conftest import START, Plane

CONFIG = """
[data.days]
time = "at"
key = "id"
label = { column = "y" }

[model.fraud]
train = "shop.fraud:train"
inputs = ["data.days"]
metric = "roc_auc"

[model.fraud.monitor]
rows = 1000
decay = 0.05
"""


def drawn(rows: int, seed: int, blur: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are the probabilities of their labels; `blur` pulls them to the middle, where they tell less."""
    random = np.random.default_rng(seed)
    x = random.normal(0.0, 2.0 / blur, rows)
    p = 1 / (1 + np.exp(-x))
    return (random.random(rows) < p).astype(float), p.astype(np.float32)


def live(context: Context) -> None:
    truth, scores = drawn(5_000, 0)
    signature = Signature(("x",), (), (), Score("p"))
    manifest = ModelManifest(
        signature, Example((0.0,), 0.0, 1.0), Profile(1), "none", calibrator=expected.calibrator(truth, scores)
    )
    artifact = {"model.json": context.objects.put(wire.to_json(manifest))}
    metrics = {"roc_auc": compute("roc_auc", truth, scores)}
    version = ModelVersion(
        "shop", "fraud", 1, ModelStatus.READY, artifact, signature, metrics, (), Parity(1, 0.0, 1.0), "r", "c", {},
        "data", START,
    )  # fmt: skip
    release = Release("shop", "production", 1, "b", "c", {"fraud": 1}, "", START)
    with context.transaction() as tx:
        tx.put(c.MODEL_VERSIONS, version)
        tx.put(c.RELEASES, release)
        tx.put(c.ENVIRONMENTS, Environment("shop", "production", live=1))


def serve(context: Context, number: int, scores: np.ndarray) -> None:
    folder = context.settings.observations / "shop" / "fraud" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    at = START + timedelta(hours=number)
    ids = tuple(f"{number}-{n}" for n in range(len(scores)))
    times = tuple(int((at + timedelta(seconds=n)).timestamp() * 1e6) for n in range(len(scores)))
    raw = scores.astype("<f4").tobytes()
    given = Prediction(f"p{number}", at.timestamp(), "fraud", 1, len(scores), raw, raw, ids, times)
    (folder / f"{number}-1-1.seg").write_bytes(encode(given))


def label(context: Context, number: int, truths: list[np.ndarray]) -> None:
    parts = []
    for n, truth in enumerate(truths):
        first = START + timedelta(hours=n)
        at = [(first + timedelta(seconds=k)).replace(tzinfo=None) for k in range(len(truth))]
        buffer = io.BytesIO()
        pl.DataFrame({"id": [f"{n}-{k}" for k in range(len(truth))], "at": at, "y": truth}).write_parquet(buffer)
        digest = context.objects.put(buffer.getvalue())
        parts.append(Part(digest, len(truth), 1, first, first + timedelta(seconds=len(truth))))
    last = START + timedelta(hours=len(truths) - 1, seconds=len(truths[-1]))
    digest = manifests.put(context.objects, Manifest(tuple(parts)))
    version = DatasetVersion("shop", "days", number, None, digest, 9, 1, {}, START, first=START, last=last)
    with context.transaction() as tx:
        tx.put(c.DATASET_VERSIONS, version)


def test_windows_are_estimated_signalled_compared_and_learned_from(plane: Plane) -> None:
    context = plane.context()
    plane.build(CONFIG)
    live(context)
    monitor = Monitor(context)
    days = [drawn(1_000, 1), *(drawn(1_000, seed, blur=3.0) for seed in (2, 3, 4))]
    for number, (_, scores) in enumerate(days):
        serve(context, number, scores)
    monitor.turn()
    with context.records.read() as tx:
        windows = tx.find(c.WINDOWS, where={"model": "shop/fraud"}, newest=False)
    for window, (truth, scores) in zip(windows, days, strict=True):
        assert window.estimate is not None
        assert window.estimate.low <= compute("roc_auc", truth, scores) <= window.estimate.high
    early = plane.events("signal.estimated_decay")
    assert [event.data["window"] for event in early] == [3, 4]  # the second poor window in a row, and the third
    assert early[0].data["figures"]["past_error"] == 0.0

    label(context, 1, [truth for truth, _ in days])
    monitor.turn()
    with context.records.read() as tx:
        (quality,) = tx.find(c.QUALITY, where={"model": "shop/fraud"})
        known = tx.need(c.EXPECTATIONS, "shop/fraud@1")
    assert quality.rows >= 3_999
    assert quality.estimate is not None
    assert quality.error == pytest.approx(quality.estimate.value - quality.value)
    assert abs(quality.error) < 0.02
    assert known.errors == (quality.error,)
    assert known.calibrator != expected.calibrator(*drawn(5_000, 0))
    assert sum(known.calibrator.rows) > 5_000
    (event,) = plane.events("monitor.quality")
    assert event.data["estimate"] == quality.estimate.value


def test_a_version_without_a_calibrator_is_monitored_as_before(plane: Plane) -> None:
    context = plane.context()
    plane.build(CONFIG)
    live(context)
    with context.transaction() as tx:
        version = tx.need(c.MODEL_VERSIONS, "shop/fraud@1")
        manifest = wire.from_json(context.objects.get(version.artifact["model.json"]), ModelManifest)
        bare = context.objects.put(wire.to_json(replace(manifest, calibrator=None)))
        tx.put(c.MODEL_VERSIONS, replace(version, artifact={"model.json": bare}))
    monitor = Monitor(context)
    truth, scores = drawn(1_100, 1)
    serve(context, 0, scores)
    label(context, 1, [truth])
    monitor.turn()
    with context.records.read() as tx:
        assert tx.find(c.WINDOWS, where={"model": "shop/fraud"})[0].estimate is None
        assert tx.find(c.QUALITY, where={"model": "shop/fraud"})[0].estimate is None
        assert tx.count(c.EXPECTATIONS) == 0
