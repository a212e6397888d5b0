"""A Conveyor without its reconciler: real records and objects, real ingest processes, and the API on a port."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from conveyor.client import Client, connect
from conveyor.config.settings import Settings, make_folders, save_settings
from conveyor.delivery.arrivals import accept
from conveyor.delivery.desk import Desk
from conveyor.delivery.ingest import IngestRecipe, new_run
from conveyor.delivery.rows import Rows
from conveyor.delivery.table_desk import TableDesk
from conveyor.domain.events import Event
from conveyor.domain.project import DataConfig, ProjectConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, RunState, StepState
from conveyor.domain.state import Arrival, Project
from conveyor.effects.clock import SteppedClock
from conveyor.effects.ports import free_port
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC
from conveyor.errors import Unavailable
from conveyor.sdk import ingest
from conveyor.stores import collections as c
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records
from conveyor.stores.rowlog import RowLog
from conveyor.tables.store import LocalStore
from conveyor.tables.table import Table

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TOKEN = "a-token-for-tests"


class Place:
    """`take` does what the reconciler does with an ingest run, at once."""

    def __init__(self, root: Path, *data: DataConfig, objects_url: str = "") -> None:
        port = free_port()
        self.root = root
        self.settings = Settings(root / ".conveyor", public_port=port + 1, api_port=port, objects_url=objects_url)
        make_folders(self.settings)
        save_settings(self.settings)
        self.settings.token_file.write_text(TOKEN)
        ids = (f"{number:012x}" for number in itertools.count(1))
        self.clock = SteppedClock(START)
        objects = Objects(objects_url or str(self.settings.objects), self.settings.home / "cache")
        records = Records(f"sqlite:///{self.settings.database}")
        self.context = Context(self.settings, records, objects, self.clock, lambda: next(ids), "test")
        self._recipe = IngestRecipe(self.context)
        environment, tree = "e" * 64, "c" * 40
        (self.settings.builds / tree).mkdir()
        programs = self.settings.envs / environment / "bin"
        programs.mkdir(parents=True)
        (programs / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (programs / "python").chmod(0o755)
        self.build = Build(
            "shop", "b" * 64, "a" * 40, tree, environment, ProjectConfig("shop", {d.name: d for d in data}), START
        )
        with records.transaction() as tx:
            tx.put(c.PROJECTS, Project("shop", START))
            tx.put(c.BUILDS, self.build)

    def configure(self, *data: DataConfig) -> None:
        """As a push would."""
        config = ProjectConfig("shop", {each.name: each for each in data})
        self.build = replace(self.build, config=config)
        with self.context.records.transaction() as tx:
            tx.put(c.BUILDS, self.build)

    def take(
        self, dataset: str, *, inline: bool = False, between: Callable[[], object] | None = None, **frames: pl.DataFrame
    ) -> Run:
        """One ingest of these frames, each a file; the run that ended. Inline: its process's work in this one.

        `between` happens after the process's work and before its result is taken.
        """
        with self.context.records.transaction() as tx:
            arrivals = []
            for name, frame in frames.items():
                path = self.root / f"{name}.parquet"
                frame.write_parquet(path)
                digest = self.context.objects.put_file(path)
                taken = accept(self.context, tx, "shop", dataset, path.name, digest)
                assert taken is not None
                arrivals.append(taken)
        return self.run(dataset, arrivals, inline=inline, between=between)

    def run(
        self,
        dataset: str,
        arrivals: list[Arrival],
        *,
        inline: bool = True,
        between: Callable[[], object] | None = None,
    ) -> Run:
        run = new_run(self.context.new_id(), self.build, self.build.config.data[dataset], arrivals, self.clock.now())
        job = self.root / run.id
        (job / OUT).mkdir(parents=True)
        command = self._recipe.prepare(run, run.step("ingest"), job)
        assert command.spec is not None
        (job / SPEC).write_bytes(command.spec)
        if inline:
            assert ingest.main(list(command.argv[3:])) == 0
        else:
            done = subprocess.run(command.argv, cwd=command.cwd, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        if between is not None:
            between()
        outputs = {path.name: self.context.objects.put_file(path) for path in sorted((job / OUT).iterdir())}
        step = replace(run.step("ingest"), outputs=outputs, state=StepState.SUCCEEDED)
        run = replace(run.with_step(step), state=RunState.SUCCEEDED)
        with self.context.records.transaction() as tx:
            run = self._recipe.complete(run, tx)
            tx.put(c.RUNS, run)
        self.clock.step(timedelta(days=1))
        return run

    def desk(self) -> Desk:
        rows = Rows(self.context, RowLog(self.settings.rows, 1 << 20))
        return Desk(self.context, lambda: None, lambda: True, dict, rows)

    @contextmanager
    def api(self) -> Iterator[Client]:
        log = self.root / "api.log"
        words = [sys.executable, str(Path(__file__).with_name("serve.py")), str(self.settings.home)]
        with log.open("wb") as target:
            server = subprocess.Popen(words, stdout=target, stderr=target)
        try:
            client = connect(self.settings.home)
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.projects()
                    break
                except Unavailable:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.02)
            yield client
        finally:
            server.kill()
            server.wait()

    def table(self, dataset: str, which: str = "latest") -> Table:
        """A version, found without the API."""
        view = TableDesk(self.context).table("shop", dataset, which)
        return Table(view, LocalStore(self.settings.objects, verify=True))

    def events(self, *types: str) -> list[Event]:
        with self.context.records.read() as tx:
            return tx.events(types=types, limit=1000)

    def close(self) -> None:
        self.context.records.close()


def payments(day: int, rows: int = 500, **columns: Any) -> pl.DataFrame:
    """Rows of one day, spread over it, with keys of their own."""
    at, random = datetime(2018, 4, 1) + timedelta(days=day), Random(day)
    made = {
        "id": [day * 100_000 + n for n in range(rows)],
        "at": [at + timedelta(seconds=86_399 * n / rows) for n in range(rows)],
        "amount": [float((n * 7919 + day) % 1000) / 10 for n in range(rows)],
        "kind": ["card" if n % 3 else "cash" for n in range(rows)],
        "note": [f"{day}-{n}-{random.randbytes(20).hex()}" for n in range(rows)],
    }
    return pl.DataFrame(made | columns)
