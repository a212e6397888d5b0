"""A control plane's records with a story in them, and the pages over it; nothing else of the control plane runs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from conveyor.config.settings import Settings, make_folders
from conveyor.delivery.desk import Desk
from conveyor.delivery.rows import Rows
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.governor_state import Decision, GovernorRecord, GovernorState
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.monitor import FeatureShift, Quality, Window
from conveyor.domain.project import DataConfig, ModelConfig, ProjectConfig
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.rollout import Phase, Rollout
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.domain.shadow import Shadowed
from conveyor.domain.state import Alias, Arrival, DataTag, Project, Quarantined
from conveyor.effects.clock import SteppedClock
from conveyor.engine.context import Context
from conveyor.stores import collections as c
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records
from conveyor.stores.rowlog import RowLog
from conveyor.web.server import application

from . import payments
from .receipts import receipt

TOKEN = "a-token-for-tests"
HOSTILE = "<script>alert(1)</script>"
COMMIT, OTHER = "1a2b3c4d" * 5, "99887766" * 5
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SHIFT = FeatureShift(psi=0.1, natural=0.02, mean=1.0, reference_mean=1.0, null_share=0.0, reference_null_share=0.0)


@dataclass
class World:
    context: Context
    desk: Desk
    app: FastAPI

    def tell(self, type_: str, subject: str, **data: Any) -> None:
        with self.context.records.transaction() as tx:
            tx.append(self.context.event(type_, subject, "shop", **data))


def empty(home: Path, port: int = 8000) -> World:
    settings = Settings(home, public_port=8001, api_port=port)
    make_folders(settings)
    settings.token_file.write_text(TOKEN)
    ids = (f"{number:012x}" for number in itertools.count(1))
    context = Context(
        settings,
        Records(f"sqlite:///{settings.database}"),
        Objects(str(settings.objects), home / "cache"),
        SteppedClock(START),
        lambda: next(ids),
        "test",
    )
    desk = Desk(context, lambda: None, lambda: True, dict, Rows(context, RowLog(settings.rows, 2**30)))
    return World(context, desk, application(desk, settings, TOKEN, lambda: None))


def full(home: Path, port: int = 8000) -> World:
    """A shop in which much has happened, some of it bad; names and messages are hostile where a user gives them."""
    world = empty(home, port)
    with world.context.records.transaction() as tx:
        config = _config()
        tx.put(c.PROJECTS, Project("shop", START, {"main": COMMIT}))
        tx.put(c.BUILDS, Build("shop", "b" * 64, COMMIT, "c" * 64, "e" * 64, config, START, "Ada", HOSTILE))
        for number in range(1, 5):
            tx.put(c.MODEL_VERSIONS, _version(number))
        for measure in _measures():
            tx.put(c.QUALITY, measure)
        for number in range(1, 9):
            tx.put(c.WINDOWS, _window(number))
        for number, version in ((1, 2), (2, 3)):
            release = Release("shop", "production", number, "b" * 64, COMMIT, {"fraud": version}, HOSTILE, START)
            tx.put(c.RELEASES, release)
        id_ = "shop/production"
        for number, closed in ((1, True), (2, False)):
            tx.put(c.RECEIPTS, receipt(f"{id_}/{number}", START, HOSTILE, closed=closed))
        shadow = Shadowed(f"{id_}/1/model.fraud", f"{id_}/1", "model.fraud", 1, 2, requests=500, rows=512, differing=64)
        tx.put(c.SHADOWS, replace(shadow, difference=12.5, unanswered=3, psi=0.07, p50_ms=2.1, result=HOSTILE))
        tx.put(c.ROLLOUTS, Rollout(f"{id_}/2", id_, 2, 1, START, START, Phase.CANARY, 1, note="insufficient evidence"))
        rejected = {"model:fraud@4": f"web answered 12 of 40 requests with 5xx {HOSTILE}"}
        tx.put(c.ENVIRONMENTS, Environment("shop", "production", 1, f"{id_}/2", 2, rejected))
        tx.put(c.ENVIRONMENTS, Environment("shop", "staging", waiting="model.fraud has no version that passed yet"))
        tx.put(c.ALIASES, Alias("shop/fraud:live", "shop/fraud", "live", 2))
        why = Decision(False, "new rows", "did not retrain because only 120 new labelled rows came; data needs 5,000")
        tx.put(c.GOVERNORS, GovernorRecord(GovernorState("shop/fraud", "shop"), why))
        for version in payments.versions(world.context.objects, home, START, HOSTILE):
            tx.put(c.DATASET_VERSIONS, version)
        tx.put(c.DATA_TAGS, DataTag("shop/payments@gold", "shop/payments", "gold", 11))
        broken = {"TX_AMOUNT:min": 3}
        tx.put(c.QUARANTINE, Quarantined("q1", "shop/payments", f"{HOSTILE}.csv", 3, broken, "d" * 64, 12, START))
        tx.put(c.ARRIVALS, Arrival("shop/payments/x", "shop", "payments", "bad.parquet", "x", START, "refused"))
        tx.put(c.RUNS, _run("run1", "build", COMMIT, StepState.FAILED, f"test said {HOSTILE}"))
        tx.put(c.RUNS, _run("run2", "train", "shop/fraud", StepState.RUNNING))
    logs = world.context.settings.logs / "runs" / "run1"
    logs.mkdir(parents=True)
    (logs / "test.log").write_text("".join(f"line {number}\n" for number in range(1000)) + HOSTILE)
    _story(world)
    return world


def _story(world: World) -> None:
    project, model, data = "project/shop", "model/shop/fraud", "data/shop/payments"
    place = "environment/shop/production"
    world.tell("system.started", "control")
    world.tell("code.pushed", project, branch="main", commit=COMMIT, author="Ada", message=HOSTILE)
    world.tell("run.started", "run/run1", kind="build", about=COMMIT)
    world.tell("data.refused", data, file=f"{HOSTILE}.parquet", error="It cannot be read.", hint="Send it again.")
    world.tell("data.version_created", data, version=12, rows=113_204, new_rows=9_586, until="2026-03-01T23:59")
    figures = {"average_precision": 0.68, "roc_auc": 0.87}
    world.tell("model.version_created", model, version=3, metrics=figures, trigger="data", run="run0", reasons=[])
    world.tell("governor.decided", model, train=False, rule="cooldown", reason="did not retrain because it rests")
    world.tell("model.alias_moved", model, alias="live", version=2, previous=1, reason="release 1")
    world.tell("release.created", place, release=2, reason=HOSTILE, commit=COMMIT, models={"fraud": 3})
    world.tell("rollout.advanced", place, release=2, phase="canary", percent=25, note="", seconds=4.0)
    quality = {"metric": "average_precision", "value": 0.66, "low": 0.61, "high": 0.7}
    world.tell("monitor.quality", model, version=2, rows=9_000, positives=80, until="2026-03-01", **quality)
    world.tell("signal.drift", model, version=2, message="TX_AMOUNT moved away from the training profile.")


def _config() -> ProjectConfig:
    data = {"payments": DataConfig("payments", time="TX_DATETIME", rules={"TX_AMOUNT": {"min": 0, "not_null": True}})}
    models = {"fraud": ModelConfig("fraud", "shop.fraud:train", ("data.payments",), "average_precision")}
    return ProjectConfig("shop", data, models=models)


def _version(number: int) -> ModelVersion:
    verdicts = (
        Verdict("metric", Outcome.PASS, "average_precision is 0.6810 on 9,000 rows.", {"value": 0.681, "min": 0.5}),
        Verdict("versus_live", Outcome.INSUFFICIENT, "Chance could explain the difference.", {"difference": -0.01}),
        Verdict("leak", Outcome.FAIL if number == 4 else Outcome.PASS, f"{HOSTILE} ranks the holdout.", {}),
    )
    status = ModelStatus.REJECTED if number == 4 else ModelStatus.READY
    return ModelVersion(
        project="shop",
        name="fraud",
        version=number,
        status=status,
        artifact={"model.onnx": "a" * 64, "model.json": "d" * 64},
        signature=Signature(("TX_AMOUNT",), (), (), Score("probabilities", 1)),
        metrics={"average_precision": 0.5 + 0.06 * number, "roc_auc": 0.8},
        verdicts=verdicts,
        parity=Parity(9_000, 2.4e-7, 1e-4),
        run="run2",
        commit=COMMIT,
        data={"payments": 10 + number},
        reason="retrains because 9,586 new labelled rows arrived",
        created=START,
        labelled_until=START + 7 * number * DAY,
        rows=60_000,
        params={"n_estimators": 200},
    )


def _measures() -> list[Quality]:
    found = []
    for day in range(24):
        version, value = 1 + day // 8, 0.5 + 0.06 * (day // 8) + 0.02 * (day % 3)
        when = START + (8 + day) * DAY
        span = {"low": value - 0.05, "high": value + 0.05, "confidence": 0.95}
        about = {"model": "shop/fraud", "version": version, "id": f"q{day}", "first": when - DAY, "last": when}
        found.append(Quality(metric="average_precision", rows=9_000, positives=80, value=value, **span, **about))
    return found


def _window(number: int) -> Window:
    when = START + number * DAY
    names = ("TX_AMOUNT", "TX_DURING_NIGHT", "TERMINAL_ID_RISK_7DAY_WINDOW")
    features = {name: _shifted(0.03 * (place + 1) * number) for place, name in enumerate(names)}
    return Window(f"w{number}", "shop/fraud", 2, number, 5000, features, SHIFT, 0, 0.1, when, when, when - DAY, when)


def _shifted(psi: float) -> FeatureShift:
    return FeatureShift(psi, 0.02, 1.0, 1.0, 0.0, 0.0)


def _run(id_: str, kind: str, subject: str, state: StepState, error: str = "") -> Run:
    ended = None if state is StepState.RUNNING else START + timedelta(seconds=75)
    done = Step("checkout", state=StepState.CACHED, attempt=1, started=START, ended=START + timedelta(seconds=1))
    last = Step("test", ("checkout",), state=state, attempt=1, started=START, ended=ended, error=error)
    ending = RunState.RUNNING if ended is None else RunState.FAILED
    return Run(id_, "shop", kind, subject, {}, (done, last), START, ending, ended=ended, error=error)
