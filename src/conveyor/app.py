"""The composition root: settings become concrete parts here, and nowhere else."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from fastapi import FastAPI

from conveyor.config.settings import Settings
from conveyor.delivery.alerts import Alerts
from conveyor.delivery.arrivals import Arrivals, accept
from conveyor.delivery.build import BuildRecipe
from conveyor.delivery.collect import Collector
from conveyor.delivery.desk import Desk
from conveyor.delivery.fetch import Fetches, FetchRecipe
from conveyor.delivery.files import Files
from conveyor.delivery.freshness import Freshness
from conveyor.delivery.ingest import IngestRecipe
from conveyor.delivery.lineage_index import LineageIndex
from conveyor.delivery.losses import Losses
from conveyor.delivery.migrate import CleanupRecipe, MigrateRecipe
from conveyor.delivery.monitor import Monitor
from conveyor.delivery.notifier import Notifier
from conveyor.delivery.openlineage import OpenLineage
from conveyor.delivery.parity import ParityRecipe
from conveyor.delivery.predictions import Gathering
from conveyor.delivery.preview_setup import PreviewRecipe
from conveyor.delivery.previews import Previews
from conveyor.delivery.project_steps import ProjectSteps
from conveyor.delivery.pushes import Pushes
from conveyor.delivery.releases import Releases
from conveyor.delivery.remotes import Remotes
from conveyor.delivery.reproduce import ReproduceRecipe
from conveyor.delivery.retrain import Retrain
from conveyor.delivery.rollback import RollbackRecipe
from conveyor.delivery.rollouts import Rollouts
from conveyor.delivery.rows import Rows
from conveyor.delivery.score import ScoreRecipe
from conveyor.delivery.step_run import StepRunRecipe
from conveyor.delivery.sweeps import Sweeps
from conveyor.delivery.tracked import TrackedTrainings
from conveyor.delivery.train import TrainRecipe
from conveyor.delivery.trials import TrialRecipe
from conveyor.delivery.verification import Verifier
from conveyor.delivery.vigil import Vigil
from conveyor.delivery.watching_buckets import Buckets
from conveyor.delivery.world import World
from conveyor.domain.run import RunState
from conveyor.effects import installed
from conveyor.effects.deaths import Deaths
from conveyor.effects.environment import clean_environment
from conveyor.effects.envoy import Envoy
from conveyor.effects.processes import CONTROL, ENVOY, Processes, Program
from conveyor.effects.vault import VARIABLE
from conveyor.engine.context import Context
from conveyor.engine.recipe import Recipe
from conveyor.engine.reconciler import Controller, Reconciler
from conveyor.engine.runs import Runs
from conveyor.foundation import context as context
from conveyor.foundation import objects as objects
from conveyor.foundation import records as records
from conveyor.foundation import tracking as tracking
from conveyor.stores.collections import RUNS
from conveyor.stores.data.opening import open_store
from conveyor.stores.rowlog import RowLog
from conveyor.stores.tracking.database import TrackingDatabase
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.trained import TrainedModels
from conveyor.web.server import application


@dataclass(frozen=True, slots=True)
class ControlPlane:
    context: Context
    reconciler: Reconciler
    desk: Desk
    tracking: TrackingDatabase


@dataclass(frozen=True, slots=True)
class Complete:
    """A control plane at work, the application over it, and its models as tracking tells them."""

    plane: ControlPlane
    app: FastAPI
    trained: TrainedModels


def processes(settings: Settings) -> Processes:
    # The key of the secrets, where it is given as a variable: in supervisord's memory, and never in a file.
    return Processes(settings.run, env={name: os.environ[name] for name in (VARIABLE,) if name in os.environ})


def envoy(settings: Settings) -> Envoy:
    return Envoy(settings.envoy, settings.public_port, address=settings.host, concurrency=1)


def control_plane(settings: Settings, shared: Context, tracked: TrackingDatabase) -> ControlPlane:
    running = processes(settings)
    training = TrainRecipe(shared)
    trial = TrialRecipe(shared, at_once=os.cpu_count() or 1)
    recipes: list[Recipe] = [
        BuildRecipe(shared),
        IngestRecipe(shared),
        FetchRecipe(shared),
        training,
        StepRunRecipe(shared, ProjectSteps(shared)),
        ScoreRecipe(shared, ProjectSteps(shared)),
        ParityRecipe(shared, ProjectSteps(shared)),
        ReproduceRecipe(shared),
        trial,
        MigrateRecipe(shared),
        CleanupRecipe(shared),
        RollbackRecipe(shared),
        PreviewRecipe(shared),
    ]
    rows = Rows(shared, RowLog(settings.rows, settings.rows_backlog_mb * 2**20))
    files = Files(shared, open_store(settings.home, settings.objects_url).versions)
    controllers: list[Controller] = [
        Runs(shared, recipes),
        Previews(shared),
        Releases(shared),
        Rollouts(shared, World(shared, running, envoy(settings))),
        Remotes(shared),
        Pushes(shared),
        Arrivals(shared, rows),
        Buckets(shared, accept),
        Fetches(shared),
        files,
        Freshness(shared),
        Retrain(shared, training, files),
        Sweeps(shared, trial, files),
        Monitor(shared),
        Alerts(shared),
        Notifier(shared),
        Losses(shared),
        Gathering(shared),
        Vigil(shared, Deaths(running.log), envoy(settings)),
        Collector(shared),
        Verifier(shared),
        LineageIndex(shared),
        TrackedTrainings(shared, tracked),
        OpenLineage(shared),
    ]
    reconciler = Reconciler(shared, controllers)
    desk = Desk(shared, reconciler.poke, lambda: reconciler.alive, running.list, rows, files.find)
    return ControlPlane(shared, reconciler, desk, tracked)


def proxy_program(settings: Settings) -> Program:
    proxy = envoy(settings)
    proxy.write_bootstrap()
    log = settings.logs / "processes" / f"{ENVOY}.log"
    return Program(ENVOY, tuple(proxy.argv()), settings.home, clean_environment(), log, priority=1)


def control_program(settings: Settings) -> Program:
    """The control plane itself. Its stamp changes with every change of Conveyor: another one replaces it."""
    argv = (sys.executable, "-m", "conveyor.start", str(settings.home))
    env = clean_environment() | {installed.STAMP: installed.stamp()}
    log = settings.logs / "processes" / f"{CONTROL}.log"
    return Program(CONTROL, argv, settings.root, env, log, priority=2, stop_seconds=15, keyed=True)


def complete(settings: Settings, shared: Context, tracked: TrackingDatabase, token: str, mlflow: Service) -> Complete:
    """All that is beyond tracking, at work: the reconciler runs, and the application answers everything else."""
    plane = control_plane(settings, shared, tracked)
    app = application(plane.desk, settings, token, plane.reconciler.poke, mlflow)
    _announce(shared)
    plane.reconciler.start()
    return Complete(plane, app, TrainedModels(shared, plane.desk.registry))


def _announce(shared: Context) -> None:
    """On record: that the control plane started, and which work in flight it found and carries on with."""
    with shared.records.transaction() as tx:
        flying = [run.id for run in tx.find(RUNS, where={"state": RunState.RUNNING}, limit=100)]
        tx.append(shared.event("system.recovered" if flying else "system.started", "control", runs=flying))
