"""Erasure: the rows of a subject are gone from everywhere, bytes included, and from nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from conveyor.delivery.collect import collect
from conveyor.delivery.erasing import Subject
from conveyor.domain import requests, wire
from conveyor.domain.dataset import Part
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.retention import Policy
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.domain.state import CachedStep
from conveyor.domain.step import Slice, TrainingReport
from conveyor.effects import jobs
from conveyor.errors import InputRejected, NotFound
from conveyor.sdk.describe import measure, profile
from conveyor.stores.collections import BUILDS, ERASURES, MODEL_VERSIONS, RUNS, STEP_CACHE

from .lake import DAY, Lake, parquet, payments

ERASE = requests.Erase("customer", "102", by="ann", why="asked for it")
SECRET = 102


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """Three versions; customer 102 is in the first and the third, in the quarantine, and in a file that was refused."""
    made = Lake(tmp_path)
    for number, table in enumerate(
        (
            payments(range(10)),
            payments(range(10, 20), day=1).filter(pl.col("customer") != SECRET),
            payments(range(20, 30), day=2).with_columns(
                amount=pl.when(pl.col("id") < 25).then(500.0).otherwise("amount")
            ),
        )
    ):
        made.land(f"{number}.parquet", table)
        made.settle()
    made.land("refused.csv", payments(range(3)).drop("amount").write_csv().encode())
    made.land("broken.parquet", b"PAR1 and then nothing PAR1")
    made.settle()
    yield made
    made.close()


def holds(lake: Lake) -> list[str]:
    """Files below the home that hold a row of the subject, in whatever format."""
    found = []
    for path in lake.context.settings.home.rglob("*"):
        if path.is_file() and "envs" not in path.parts:
            raw = path.read_bytes()
            if raw.startswith(b"PAR1") and raw.endswith(b"PAR1") and b"nothing" not in raw:
                table = pl.read_parquet(raw)
                if "customer" in table.columns and table.filter(pl.col("customer") == SECRET).height:
                    found.append(str(path))
            elif raw.startswith(b"id,at,customer") and b",102" in raw:
                found.append(str(path))
    return found


def test_rows_go_from_all_versions_and_the_rest_is_shared(lake: Lake) -> None:
    before, rows = lake.versions(), lake.rows()
    assert len(holds(lake)) == 6  # two parts, the quarantine, two originals, the refused file
    parts = [lake_parts(lake, version) for version in before]
    plan = lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", "102", dry_run=True))
    assert lake.versions() == before
    assert (plan.erasure.rows, plan.erasure.versions, plan.erasure.quarantined) == (3, (1, 2, 3), 1)
    assert set(plan.erasure.originals) == {"0.parquet", "2.parquet", "refused.csv"}
    assert plan.erasure.unread == ("broken.parquet",)

    done = lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", "102", now=True, by="ann"))
    assert done.erasure.rows == 3
    assert done.freed >= 6
    assert holds(lake) == []
    assert lake.rows().equals(rows.filter(pl.col("customer") != SECRET))
    after = lake.versions()
    assert [(v.version, v.rows, v.erased) for v in after] == [
        (1, 8, (done.erasure.id,)), (2, 16, (done.erasure.id,)), (3, 20, (done.erasure.id,)),
    ]  # fmt: skip
    assert all(v.rows == lake.rows(v).height for v in after)
    shared = [part.digest for part in lake_parts(lake, after[2])]
    assert parts[1][1].digest in shared  # the file without the subject was not written anew
    # Statistics of rows that are gone might tell of them: they are measured anew.
    assert [v.profile.rows if v.profile else None for v in after] == [8, 16, 20]
    for each in after:
        alone = profile(measure([lake.context.objects.path(part.digest) for part in lake_parts(lake, each)]))
        assert each.profile == alone
        assert each.profile.columns["customer"].distinct == 4
    assert after[2].profile is not None
    assert not after[2].profile.sketches
    assert {entry.rows for entry in lake.held()} == {4}
    assert {a.file for a in lake.desk.arrivals("shop", "payments") if a.erased} == {
        "0.parquet",
        "2.parquet",
        "refused.csv",
    }

    (tombstone,) = lake.desk.erasures.past("shop", "payments")
    assert (tombstone.by, tombstone.column) == ("ann", "customer")
    texts = [wire.to_json(tombstone).decode(), json.dumps(lake.told("data.erased"), default=str)]
    assert not [text for text in texts if '"102"' in text or "=102" in text or ": 102" in text]
    again = lake.desk.erasures.erase("shop", "payments", ERASE)
    assert (again.known, again.erasure.rows, again.condemned) == (True, 0, 0)
    assert len(lake.told("data.erased")) == 1


def lake_parts(lake: Lake, version: object) -> tuple[Part, ...]:
    from conveyor.delivery.lookup import manifest_of

    return manifest_of(lake.context.objects, version).parts  # type: ignore[arg-type]


def test_rows_that_come_later_are_held_and_force_does_not_lift_it(lake: Lake) -> None:
    lake.desk.erasures.erase("shop", "payments", ERASE)
    lake.land("later.parquet", payments(range(40, 50), day=4))
    lake.settle()
    assert lake.rows().filter(pl.col("customer") == SECRET).height == 0
    entry = next(each for each in lake.held() if each.file == "later.parquet")
    assert entry.reasons == {"erased": 2}
    (row, _) = lake.desk.quarantines.show("shop", "payments", entry.name, 5).rows
    assert row.reason == "customer belongs to a subject that was erased"
    lake.desk.quarantines.release("shop", "payments", entry.name, requests.ReleaseRows(force=True))
    lake.settle()
    assert lake.rows().filter(pl.col("customer") == SECRET).height == 0
    done = lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", "102", now=True))
    assert done.known
    assert holds(lake) == []
    assert not [each for each in lake.held() if "erased" in each.reasons]


def test_what_names_nobody_is_refused_or_only_remembered(lake: Lake) -> None:
    erase = lake.desk.erasures.erase
    with pytest.raises(InputRejected, match="payments has no column x"):
        erase("shop", "payments", requests.Erase("x", "1"))
    with pytest.raises(InputRejected, match="'1a' is no Int64"):
        erase("shop", "payments", requests.Erase("customer", "1a"))
    with pytest.raises(NotFound, match="no dataset 'other'"):
        erase("shop", "other", ERASE)
    before = lake.versions()
    view = erase("shop", "payments", requests.Erase("customer", "0999"))
    assert (view.erasure.rows, view.erasure.versions) == (0, ())
    assert lake.versions() == before
    lake.land("new.parquet", payments(range(60, 62), day=6).with_columns(customer=pl.lit(999)))
    lake.settle()
    assert lake.versions() == before
    (entry, *_) = lake.held()
    assert entry.reasons == {"erased": 2}
    with pytest.raises(NotFound, match="has no erasure 'x'"):
        lake.desk.erasures.lift("shop", "payments", "x", requests.Lift())
    lake.desk.erasures.lift("shop", "payments", view.erasure.id, requests.Lift("ann", "a typing error"))
    assert "lifted already" in lake.desk.erasures.lift("shop", "payments", view.erasure.id, requests.Lift()).message
    lake.desk.quarantines.release("shop", "payments", entry.name, requests.ReleaseRows())
    lake.settle()
    assert lake.rows().filter(customer=999).height == 2
    assert not erase("shop", "payments", requests.Erase("customer", "999", dry_run=True)).known
    assert Subject("customer", "1").match(pl.Schema({"customer": pl.List(pl.Int8)})) is None


def test_an_ingest_that_was_under_way_begins_again(lake: Lake) -> None:
    """Its process was not told of the erasure, so what it made is not taken."""
    from conveyor.delivery.arrivals import Arrivals
    from conveyor.delivery.ingest import IngestRecipe
    from conveyor.engine.runs import Runs

    lake.land("meanwhile.parquet", payments(range(40, 50), day=4))
    Arrivals(lake.context, lake.rowlog).turn()
    runs = Runs(lake.context, [IngestRecipe(lake.context)])
    runs.turn()
    (run,) = [each for each in lake.desk.runs(kind="ingest") if each.state is RunState.RUNNING]
    deadline = time.monotonic() + 20
    while jobs.observe(runs.job_dir(run, run.steps[0])).phase == "absent":  # its process has what it was told by then
        assert time.monotonic() < deadline
        time.sleep(0.01)
    view = lake.desk.erasures.erase("shop", "payments", ERASE)
    assert view.waiting == 1
    lake.settle()
    assert lake.rows().filter(pl.col("customer") == SECRET).height == 0
    assert lake.rows().height == 20 + 8
    assert [run.result.get("again") for run in lake.desk.runs(kind="ingest")][1] == "a subject was erased meanwhile"


def _trained(lake: Lake, number: int, inputs: str, after: datetime, until: datetime) -> str:
    """A model version of version 3, trained on (after, until]; the digest of what its step left."""
    objects = lake.context.objects
    with lake.context.records.read() as tx:
        build = tx.find(BUILDS, limit=1)[0]
    slices = Slice(after, until, 1, 1), Slice(until, until + timedelta(days=1), 1, 1)
    report = TrainingReport(("amount",), *slices, Parity(1, 0.0, 1.0), "sklearn", "float", "brier", 0.1, None, 1.0, 1.0)
    rows = objects.put(parquet(payments(range(number * 100, number * 100 + 10))))
    outputs = {"training.json": objects.put(wire.to_json(report)), "holdout.parquet": rows}
    step = Step("train", state=StepState.SUCCEEDED, outputs=outputs)
    params = {"model": inputs, "build": build.id, "data": {"payments": 3}}
    with lake.context.records.transaction() as tx:
        tx.put(
            RUNS, Run(f"run{number}", "shop", "train", "shop/m", params, (step,), datetime.now(UTC), RunState.SUCCEEDED)
        )
        tx.put(STEP_CACHE, CachedStep(f"key{number}", outputs, f"run{number}"))
        tx.put(
            MODEL_VERSIONS,
            ModelVersion(
                "shop", inputs, number, ModelStatus.READY, {"model.onnx": "a" * 64}, Signature((), (), (), Score("s")),
                {}, (), Parity(1, 0.0, 1.0), f"run{number}", "c", {"payments": 3}, "", datetime.now(UTC),
            ),
        )  # fmt: skip
    return rows


MODELS = """
[data.payments.rules]
amount = { max = 100 }
[data.payments.label]
column = "amount"
[model.direct]
train = "m:t"
inputs = ["data.payments"]
metric = "brier"
[step.features]
run = "m:f"
inputs = ["data.payments"]
[model.stepped]
train = "m:t"
inputs = ["step.features"]
metric = "brier"
"""


def test_models_are_named_that_were_trained_on_the_rows(lake: Lake) -> None:
    lake.contract(MODELS)
    start = DAY.replace(tzinfo=UTC)
    _trained(lake, 1, "direct", start, start + timedelta(hours=12))  # both rows of the first day
    _trained(lake, 2, "direct", start + timedelta(days=1), start + timedelta(days=2))  # none but one to judge by
    _trained(lake, 3, "direct", start + timedelta(days=5), start + timedelta(days=6))
    rows = _trained(lake, 4, "stepped", start, start + timedelta(hours=12))
    with lake.context.records.transaction() as tx:
        open_run = replace(tx.need(RUNS, "run4"), id="run5", state=RunState.RUNNING, steps=())
        tx.put(RUNS, open_run)
    part = lake_parts(lake, lake.version())[0].digest
    view = lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", "102", now=True))
    said = {model.id: (model.exact, model.training, model.holdout, model.touched) for model in view.erasure.models}
    assert said == {
        "shop/direct@1": (True, 2, 0, True),
        "shop/direct@2": (True, 0, 1, True),
        "shop/direct@3": (True, 0, 0, False),
        "shop/stepped@4": (False, 2, 0, True),
    }
    assert lake.told("data.erased")[0]["models"] == ["shop/direct@1", "shop/direct@2", "shop/stepped@4"]
    assert view.erasure.runs == ("run5",)
    assert lake.context.objects.has(part)  # which the open run may be reading
    assert not lake.context.objects.has(rows)  # what a step had left of the rows
    with lake.context.records.transaction() as tx:
        tx.put(RUNS, replace(open_run, state=RunState.FAILED))
    lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", "102", now=True))
    assert holds(lake) == []


def test_collection_keeps_what_is_needed_and_tells_in_sums(lake: Lake) -> None:
    objects = lake.context.objects
    orphan = objects.put(b"of a crash")
    lake.desk.erasures.erase("shop", "payments", ERASE)
    young = collect(lake.context, Policy(), dry_run=False)
    assert holds(lake)
    assert not [each for each in young.objects if not each.keep]
    lake.context.clock = Later()
    plan = collect(lake.context, Policy(), dry_run=True)
    assert objects.has(orphan)
    assert holds(lake)
    reasons = {each.reason: each.count for each in plan.objects if each.keep}
    assert reasons["rows of dataset versions"] == 3
    assert reasons["rows in quarantine"] == 1
    assert reasons["original files, as they arrived"] == 2  # one file without the subject, one that cannot be read
    assert len(plan.objects) < 10
    done = collect(lake.context, Policy(), dry_run=False)
    assert done.objects == plan.objects
    assert not objects.has(orphan)
    assert holds(lake) == []
    assert lake.rows().height == 20
    left = {each.digest for each in objects.stored()}
    assert sum(each.count for each in collect(lake.context, Policy(), dry_run=True).objects) == len(left)


class Later:
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=3)


@pytest.mark.timeout(600)
def test_killed_at_any_point_the_old_or_the_new_state_is_there_and_a_second_run_ends_it(lake: Lake) -> None:
    old, (entry,) = lake.versions(), lake.held()
    whole, less = lake.rows(), lake.rows().filter(pl.col("customer") != SECRET)
    act, killed, seen = json.dumps({"do": "erase", "value": "102"}), 0, set()
    for number in range(1, 200):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "dying.py"), str(lake.root), str(number), act],
            check=False, capture_output=True,
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        killed += 1
        with lake.context.records.read() as tx:
            erased = tx.count(ERASURES)
        seen.add(erased)
        assert erased in (0, 1)
        assert lake.rows().equals(less if erased else whole), number
        assert (lake.versions() == old) is not bool(erased)
        assert (lake.held() == [entry]) is not bool(erased)
        assert all(version.rows == lake.rows(version).height for version in lake.versions())
    print(f"killed at {killed} points")
    assert killed > 20
    assert seen == {0, 1}
    assert holds(lake) == []
    assert len(lake.told("data.erased")) == 1
