"""The composition root: settings become concrete parts here, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from conveyor.config.settings import Settings, load_settings
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
from conveyor.delivery.openlineage import OpenLineage
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
from conveyor.effects import identity, installed
from conveyor.effects.clock import SystemClock
from conveyor.effects.deaths import Deaths
from conveyor.effects.environment import clean_environment
from conveyor.effects.envoy import Envoy
from conveyor.effects.processes import CONTROL, ENVOY, Processes, Program
from conveyor.effects.vault import VARIABLE
from conveyor.engine.context import Context
from conveyor.engine.recipe import Recipe
from conveyor.engine.reconciler import Controller, Reconciler
from conveyor.engine.runs import Runs
from conveyor.errors import ConveyorError
from conveyor.stores.collections import RUNS
from conveyor.stores.data.opening import open_store
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records
from conveyor.stores.rowlog import RowLog
from conveyor.stores.tracking import experiments
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


def records(settings: Settings, *, prepare: bool = True) -> Records:
    return Records(settings.database_url or f"sqlite:///{settings.database}", prepare=prepare)


def objects(settings: Settings) -> Objects:
    return Objects(settings.objects_url or str(settings.objects), settings.home / "cache")


def context(settings: Settings) -> Context:
    return Context(settings, records(settings), objects(settings), SystemClock(), _new_id, identity.owner())


def tracking(settings: Settings) -> TrackingDatabase:
    database = TrackingDatabase(settings.database_url or f"sqlite:///{settings.tracking}")
    now = int(SystemClock().now().timestamp() * 1000)
    database.write(lambda session: experiments.ensure(session, experiments.DEFAULT, now))
    return database


def processes(settings: Settings) -> Processes:
    # The key of the secrets, where it is given as a variable: in supervisord's memory, and never in a file.
    return Processes(settings.run, env={name: os.environ[name] for name in (VARIABLE,) if name in os.environ})


def envoy(settings: Settings) -> Envoy:
    return Envoy(settings.envoy, settings.public_port, address=settings.host, concurrency=1)


def control_plane(settings: Settings) -> ControlPlane:
    shared = context(settings)
    tracked = tracking(settings)
    running = processes(settings)
    training = TrainRecipe(shared)
    trial = TrialRecipe(shared, at_once=os.cpu_count() or 1)
    recipes: list[Recipe] = [
        BuildRecipe(shared),
        IngestRecipe(shared),
        FetchRecipe(shared),
        training,
        StepRunRecipe(shared, ProjectSteps(shared)),
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
        Losses(shared),
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
    argv = (sys.executable, "-m", "conveyor.app", str(settings.home))
    env = clean_environment() | {installed.STAMP: installed.stamp()}
    log = settings.logs / "processes" / f"{CONTROL}.log"
    return Program(CONTROL, argv, settings.root, env, log, priority=2, stop_seconds=15, keyed=True)


def serve(home: Path) -> None:
    """Runs the control plane in this process until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = load_settings(home)
    plane = control_plane(settings)
    token = settings.token_file.read_text().strip()
    mlflow = Service(plane.tracking, plane.context, TrainedModels(plane.context, plane.desk.registry))
    app = application(plane.desk, settings, token, plane.reconciler.poke, mlflow)
    _announce(plane.context)
    plane.reconciler.start()
    asyncio.run(_serve(app, settings, plane))


def _announce(shared: Context) -> None:
    """On record: that the control plane started, and which work in flight it found and carries on with."""
    with shared.records.transaction() as tx:
        flying = [run.id for run in tx.find(RUNS, where={"state": RunState.RUNNING}, limit=100)]
        tx.append(shared.event("system.recovered" if flying else "system.started", "control", runs=flying))


async def _serve(app: object, settings: Settings, plane: ControlPlane) -> None:
    server = Server(app, address=settings.host, port=settings.api_port, interface=Interfaces.ASGI, log_access=False)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.ensure_future(server.serve())
    done, _ = await asyncio.wait({serving, asyncio.ensure_future(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    plane.reconciler.stop()
    if not plane.reconciler.alive:
        with contextlib.suppress(ConveyorError):
            plane.context.release()
    if serving not in done:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=5)
    # What still runs are threads of requests that wait for a client; all state is on disk.
    os._exit(0 if serving not in done else 1)


def _new_id() -> str:
    return secrets.token_hex(6)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
