"""Labels that come while a rollout is open, over real records: what they take back, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from conveyor.delivery import verified
from conveyor.delivery.monitor import Monitor
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.monitor import Quality
from conveyor.domain.project import ModelConfig
from conveyor.domain.release import Release
from conveyor.domain.rollout import Phase, Rollout, Seen, TargetSeen, decide, plan
from conveyor.engine.context import Context
from conveyor.stores import collections as c

from .conftest import START, Plane
from .test_estimates import CONFIG, drawn, label, live, serve

MODEL = ModelConfig("fraud", "shop:train", ("data.days",), "roc_auc")
GOOD = Quality("roc_auc", 400, 100, 0.85, 0.80, 0.90, 0.95, "shop/fraud", 1, id="good")
BAD = replace(GOOD, value=0.60, low=0.54, high=0.66, version=2, id="bad")


def open_rollout(context: Context, **changed: object) -> Rollout:
    """Release 2 with version 2 takes over from release 1 with version 1."""
    place = "shop/production"
    rollout = replace(Rollout(f"{place}/2", place, 2, 1, START, START, Phase.LIVE), **changed)  # type: ignore[arg-type]
    with context.transaction() as tx:
        for number in (1, 2):
            signature = Signature(("x",), (), (), Score("p"))
            tx.put(c.RELEASES, Release("shop", "production", number, "b", "c", {"fraud": number}, "", START))
            version = ModelVersion(
                "shop", "fraud", number, ModelStatus.READY, {}, signature, {"roc_auc": 0.85}, (), Parity(1, 0.0, 1.0),
                "r", "c", {}, "data", START,
            )  # fmt: skip
            tx.put(c.MODEL_VERSIONS, version)
        tx.put(c.ROLLOUTS, rollout)
    return rollout


def judged(context: Context, *measures: Quality) -> Rollout:
    with context.transaction() as tx:
        verified.judge(tx, "shop", MODEL, measures)
    with context.records.read() as tx:
        return tx.need(c.ROLLOUTS, "shop/production/2")


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.LIVE])
def test_a_version_that_labels_show_to_be_worse_is_taken_back(plane: Plane, phase: Phase) -> None:
    context = plane.context()
    open_rollout(context, phase=phase)
    with context.transaction() as tx:
        tx.put(c.QUALITY, GOOD)  # the earlier version's record, from before
    found = judged(context, BAD)
    assert found.culprit == "model.fraud"
    assert "version 1 had 0.8500" in found.abort
    seen = Seen({"model.fraud": TargetSeen(1, 1)}, routes_applied=True)
    after = decide(found, plan({"model.fraud": MODEL.rollout}), seen, START + timedelta(seconds=1))
    assert (after.phase, after.culprit, after.abort) == (Phase.ABORTING, "model.fraud", found.abort)


def test_nothing_is_taken_back_where_labels_do_not_say_so(plane: Plane) -> None:
    context = plane.context()
    open_rollout(context)
    assert judged(context, replace(GOOD, version=2)).abort == ""
    assert judged(context, BAD, replace(BAD, version=1)).abort == "", "both fell: the world has changed"
    assert judged(context, replace(BAD, version=1)).abort == "", "of the earlier version alone"
    assert judged(context, replace(BAD, positives=5)).abort == "", "too few"
    open_rollout(context, quick=True)
    assert judged(context, BAD).abort == "", "a person's rollback is not undone"
    open_rollout(context, phase=Phase.SHADOW)
    assert judged(context, BAD).abort == ""
    open_rollout(context, phase=Phase.DRAIN)
    assert judged(context, BAD).abort == ""
    open_rollout(context)
    assert "on its holdout" in judged(context, BAD).abort, "no record: held against its own holdout"


def test_the_monitor_asks_once_labels_have_come(plane: Plane) -> None:
    context = plane.context()
    plane.build(CONFIG)
    live(context)
    place = "shop/production"
    with context.transaction() as tx:  # version 1 takes over from one that has no record
        for number, version in ((1, 9), (2, 1)):
            tx.put(c.RELEASES, Release("shop", "production", number, "b", "c", {"fraud": version}, "", START))
        tx.put(c.ROLLOUTS, Rollout(f"{place}/2", place, 2, 1, START, START, Phase.LIVE))
    monitor, (truth, scores) = Monitor(context), drawn(1_500, 1)
    serve(context, 0, scores)
    monitor.turn()
    label(context, 1, [1 - truth])
    monitor.turn()
    with context.records.read() as tx:
        found = tx.need(c.ROLLOUTS, f"{place}/2")
    assert "model.fraud is worse by labels: roc_auc of shop/fraud version 1 is 0.1" in found.abort
    assert found.culprit == "model.fraud"
