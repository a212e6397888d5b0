"""A scoring beside an erasure: what it made of erased rows must not outlive them unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from conveyor.delivery.lookup import latest_build, latest_data
from conveyor.delivery.score import new_run
from conveyor.domain.erasure import Erasure
from conveyor.domain.references import of_runs, reads
from conveyor.domain.requests import ScoreDataset
from conveyor.domain.run import RunState, StepState
from conveyor.stores import collections as c

from .world import START, full


def test_what_was_scored_of_erased_rows_is_not_kept_for_the_next_scoring(tmp_path: Path) -> None:
    world = full(tmp_path / ".conveyor")
    with world.context.records.read() as tx:
        build, data = latest_build(tx, "shop"), latest_data(tx, "shop", "payments")
        model = tx.need(c.MODEL_VERSIONS, "shop/fraud@2")
    assert build is not None
    assert data is not None
    asked = ScoreDataset("payments", "scores/all")
    parts = world.desk.tables.table("shop", "payments", "latest").manifest.parts
    run = new_run("r1", build, model, data, asked, ("TX_DATETIME",), parts, START)
    step = replace(run.steps[0], state=StepState.SUCCEEDED, outputs={"scores.parquet": "f" * 64})
    run = replace(run.with_step(step), state=RunState.SUCCEEDED)
    erasure = Erasure("e1", data.dataset, "SHOP", "salt", "d" * 64, START + timedelta(hours=1), "Ada", versions=(12,))
    assert reads(run, erasure)
    assert ("f" * 64, "outputs of runs") in list(of_runs([run], [], []))
    assert "f" * 64 not in dict(of_runs([run], [], [erasure]))
    world.context.records.close()
