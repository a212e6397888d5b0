"""What a training logs: written by the tracker of its process, told of while it goes on, whole once it has ended."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import conveyor
from conveyor.app import context, tracking
from conveyor.config.settings import Settings, make_folders, save_settings
from conveyor.delivery.tracked import TrackedTrainings
from conveyor.delivery.train import KIND, TRAIN
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.engine.recipe import OUT, job_dir
from conveyor.sdk.run import Run as Handle
from conveyor.sdk.run import enter
from conveyor.sdk.tracker import FILE, Tracker
from conveyor.stores.collections import KEPT_FILES, RUNS
from conveyor.stores.tracking import files, points
from conveyor.stores.tracking.search import load, number_of_any


def test_a_training_is_a_tracked_run(tmp_path: Path) -> None:
    settings = Settings(tmp_path / ".conveyor", public_port=1, api_port=2)
    make_folders(settings)
    save_settings(settings)
    shared, database = context(settings), tracking(settings)
    controller = TrackedTrainings(shared, database)
    step = Step(TRAIN, state=StepState.RUNNING, attempt=1)
    run = Run("a1b2c3d4e5f6", "shop", KIND, "shop/fraud", {"data": {"cards": 3}}, (step,), shared.clock.now())
    with shared.records.transaction() as tx:
        tx.put(RUNS, run)
    out = job_dir(settings, run, step) / OUT
    out.mkdir(parents=True)
    conveyor.log_metric("before", 1)  # outside of a training: nothing happens
    controller.turn()

    tracker = Tracker(out)
    enter(Handle(tracker=tracker))
    for at in range(3):
        conveyor.log_metric("loss", 1 / (at + 1), step=at)
    conveyor.log_metric("odd", float("nan"))
    conveyor.log_param("depth", 8)
    (tmp_path / "notes.txt").write_text("hello")
    conveyor.log_artifact(tmp_path / "notes.txt", "deep/notes.txt")
    conveyor.log_artifact(tmp_path / "missing.txt")  # told in the log; the training goes on
    conveyor.log_figure("<svg/>", "roc.svg")
    tracker.close()
    enter(Handle())
    with (out / FILE).open("ab") as file:
        file.write(b'{"metric":"half')  # as it is while a line is being written
    controller.turn()
    with database.read() as session:
        number = number_of_any(session, run.id)
        found = load(session, [number])[0]
        assert [point.value for point in points.history(session, number, "loss", None, 0)] == [1, 0.5, 1 / 3]
    assert found.info.status == "RUNNING"
    newest = {point.key: point.value for point in found.data.metrics}
    assert newest["odd"] == "NaN"
    assert newest["loss"] == 1 / 3
    assert newest["system/memory_mb"] > 1
    assert {pair.key: pair.value for pair in found.data.params} == {"depth": "8"}

    raw = (out / FILE).read_bytes().rpartition(b"\n")[0] + b'\n{"metric":"late","value":2.0,"step":9,"time":5}\n'
    (out / FILE).write_bytes(raw)
    outputs = {str(path.relative_to(out)): shared.objects.put_file(path) for path in out.rglob("*") if path.is_file()}
    ended = replace(step, state=StepState.SUCCEEDED, outputs=outputs)
    over = replace(run, state=RunState.SUCCEEDED, ended=run.created + timedelta(seconds=9)).with_step(ended)
    with shared.records.transaction() as tx:
        tx.put(RUNS, over)
    shutil.rmtree(settings.work / run.id)
    again = TrackedTrainings(shared, database)  # as after a restart
    again.turn()
    again.turn()
    with database.read() as session:
        found = load(session, [number])[0]
        assert [each.path for each in files.listed(session, run.id, "")] == ["deep", "roc.svg"]
        assert len(points.history(session, number, "loss", None, 0)) == 3
    assert found.info.status == "FINISHED"
    assert next(point.value for point in found.data.metrics if point.key == "late") == 2
    with shared.records.read() as tx:
        assert tx.count(KEPT_FILES) == 2
    database.close()
