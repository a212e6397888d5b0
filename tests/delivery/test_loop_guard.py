"""Drift that goes on after each training: the governor gives up, tells it once, and goes on when something is new."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from conveyor.delivery.files import Files
from conveyor.delivery.retrain import Retrain, ask
from conveyor.delivery.train import TrainRecipe
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.events import Event
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.run import RunState
from conveyor.stores import manifests
from conveyor.stores.collections import DATASET_VERSIONS, GOVERNORS, MODEL_VERSIONS, RUNS
from conveyor.stores.data.opening import open_store
from tests.delivery.conftest import START, Plane

HOUR = timedelta(hours=1)
PROJECT = """
[data.rows]
time = "at"
label = { column = "y" }

[model.risk]
train = "risk:train"
inputs = ["data.rows"]
metric = "roc_auc"

[model.risk.retrain]
on = ["drift"]
debounce = "0s"
"""


class Story:
    def __init__(self, plane: Plane) -> None:
        self.plane, self.context, self.made = plane, plane.context(), 0
        tree = self.context.settings.builds / "t"
        tree.mkdir()
        (tree / "risk.py").write_text("def train(rows): ...")
        plane.build(PROJECT)
        self.governor = Retrain(
            self.context,
            TrainRecipe(self.context),
            Files(self.context, open_store(self.context.settings.home).versions),
        )

    def rows(self, version: int, schema: dict[str, str]) -> None:
        """Two hundred rows more, as a version with these columns."""
        part = Part(f"{version:064x}", 200 * version, 1, START, START + version * HOUR)
        with self.context.transaction() as tx:
            digest = manifests.put(self.context.objects, Manifest((part,)))
            tx.put(
                DATASET_VERSIONS,
                DatasetVersion(
                    "shop", "rows", version, None, digest, part.rows, 1, schema, START, part.first, part.last
                ),
            )
            tx.append(
                self.context.event("data.version_created", "data/shop/rows", "shop", version=version, new_rows=200)
            )
        self.governor.turn()

    def drift(self) -> bool:
        """Drift is seen; a training that begins is refused by its gates. Whether one began."""
        message = "risk moved away. Likely a change in the world."
        with self.context.transaction() as tx:
            tx.append(self.context.event("signal.drift", "model/shop/risk", "shop", message=message, version=1))
        for _ in range(2):
            self.governor.turn()
        return self.finish()

    def finish(self) -> bool:
        with self.context.transaction() as tx:
            running = tx.find(RUNS, where={"state": RunState.RUNNING})
            for run in running:
                self.made += 1
                version = ModelVersion(
                    "shop", "risk", self.made, ModelStatus.REFUSED, {}, Signature((), (), (), Score("p")), {},
                    (Verdict("metric", Outcome.FAIL, "too bad"),), Parity(1, 0.0, 1.0), run.id, "c",
                    run.params["data"], "drift", START, rows=self.made,
                )  # fmt: skip
                tx.put(MODEL_VERSIONS, version)
                tx.put(RUNS, replace(run, state=RunState.SUCCEEDED))
                result = {"version": self.made, "status": "refused"}
                tx.append(self.context.event("run.succeeded", f"run/{run.id}", "shop", kind="train", result=result))
        self.governor.turn()
        return bool(running)

    def told(self) -> list[Event]:
        return self.plane.events("governor.gave_up")


def test_persistent_drift_ends_in_three_trainings_one_alert_and_goes_on_when_something_is_new(plane: Plane) -> None:
    story = Story(plane)
    story.rows(1, {"x": "Float64"})
    trained = []
    for _ in range(24):
        trained.append(story.drift())
        plane.clock.step(HOUR)
    assert sum(trained) == 3
    assert not any(trained[12:])
    (alert,) = story.told()
    assert alert.data["message"].startswith("Retraining does not help: after each of the last 3 trainings")
    assert alert.data["trainings"] == 3
    with story.context.records.read() as tx:
        record = tx.need(GOVERNORS, "shop/risk")
    assert record.last is not None
    assert record.last.rule == "loop guard"

    story.rows(2, {"x": "Float64"})  # more of the same lifts nothing
    assert not story.drift()
    story.rows(3, {"x": "Float64", "zone": "String"})
    assert story.drift()
    for _ in range(8):
        plane.clock.step(HOUR)
        story.drift()
    assert len(story.told()) == 2

    with story.context.transaction() as tx:
        ask(story.context, tx, "shop", "risk", "a person asked for it")
    story.governor.turn()
    assert story.finish()
    with story.context.records.read() as tx:
        record = tx.need(GOVERNORS, "shop/risk")
    assert (record.state.vain, record.state.gave_up) == (0, False)
