"""Collection on real folders and records: what it deletes, what it keeps, and what it must not race with."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.config.load import load
from conveyor.config.settings import Settings, make_folders
from conveyor.delivery.collect import Collector, collect, need_present
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.retention import Policy
from conveyor.domain.rollout import Phase, Rollout
from conveyor.domain.run import Run, RunState
from conveyor.domain.state import Project
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, PROJECTS, RELEASES, ROLLOUTS, RUNS
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=60)
CONFIG = load('[project]\nname = "shop"\n')
RELEASES_MADE = 40


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(tmp_path / ".conveyor")
    make_folders(settings)
    records = Records(f"sqlite:///{settings.database}")
    numbers = iter(range(1_000_000))
    made = Context(
        settings, records, Objects(str(settings.objects), tmp_path), Clock(), lambda: str(next(numbers)), "t"
    )
    assert made.renew()
    yield made
    records.close()


def _folder(path: Path, when: datetime = OLD, *, size: int = 1000) -> None:
    path.mkdir(parents=True)
    for name in ("file", ".complete"):
        (path / name).write_bytes(b"x" * size)
        os.utime(path / name, (when.timestamp(),) * 2)
    os.utime(path, (when.timestamp(),) * 2)


def _build(number: int) -> Build:
    return Build("shop", f"b{number}", f"c{number}", f"t{number}", f"e{number}", CONFIG, OLD)


def _history(context: Context) -> None:
    """Forty releases, each of a build, an environment, and a model version of its own; the last one is live."""
    settings = context.settings
    with context.records.transaction() as tx:
        tx.put(PROJECTS, Project("shop", OLD))
        tx.put(ENVIRONMENTS, Environment("shop", "production", live=RELEASES_MADE, releases=RELEASES_MADE))
        for n in range(1, RELEASES_MADE + 1):
            tx.put(BUILDS, _build(n))
            tx.put(RELEASES, Release("shop", "production", n, f"b{n}", f"c{n}", {"fraud": n}, "", OLD))
            tx.put(ROLLOUTS, Rollout(f"shop/production/{n}", "shop/production", n, n - 1, OLD, OLD, Phase.DONE))
    for n in range(1, RELEASES_MADE + 1):
        _folder(settings.builds / f"t{n}")
        _folder(settings.envs / f"e{n}")
        _folder(settings.home / "models" / "shop" / "fraud" / str(n))


def test_it_keeps_what_can_come_back_and_says_why(context: Context) -> None:
    _history(context)
    settings = context.settings
    _folder(settings.builds / "young", NOW - timedelta(hours=1))
    _folder(settings.builds / "t0.new")

    plan = collect(context, Policy(), dry_run=True)
    assert (settings.builds / "t1").exists()
    done = collect(context, Policy(), dry_run=False)
    assert done.verdicts == plan.verdicts
    assert all(verdict.reason for verdict in done.verdicts)
    # 20 newest builds, of them 10 that a rollback may go back to.
    assert {path.name for path in settings.builds.iterdir()} == {"young", *(f"t{n}" for n in range(21, 41))}
    assert {path.name for path in settings.envs.iterdir()} == {f"e{n}" for n in range(21, 41)}
    models = settings.home / "models" / "shop" / "fraud"
    assert {int(path.name) for path in models.iterdir()} == set(range(31, 41))
    assert done.deleted == 20 + 20 + 30 + 1
    assert done.deleted_bytes == 2000 * done.deleted
    assert not (settings.home / "trash").exists()
    with context.records.read() as tx:
        told = tx.events(types=("system.collected",))
        assert [event.data["things"] for event in told] == [done.deleted]
        release = tx.need(RELEASES, "shop/production/7")
    need_present(settings, replace(release, number=40), _build(40))
    with pytest.raises(NotFound, match="release 7 of shop/production cannot come back"):
        need_present(settings, release, _build(7))
    assert collect(context, Policy(), dry_run=False).deleted == 0


def test_it_comes_by_itself_once_a_day(context: Context) -> None:
    _history(context)
    collector, clock = Collector(context), context.clock
    assert isinstance(clock, Clock)
    collector.turn()
    clock.time += timedelta(hours=23)
    collector.turn()
    assert (context.settings.builds / "t1").exists()
    clock.time += timedelta(hours=2)
    context.renew()
    collector.turn()
    for thread in threading.enumerate():
        if thread.name == "collector":
            thread.join()
    collector.turn()  # would raise what the thread met
    assert not (context.settings.builds / "t1").exists()


def test_what_a_run_names_meanwhile_is_not_taken_from_it(context: Context) -> None:
    """A build that begins while a collection is under way: once it is on record, what it found stays."""
    _history(context)
    settings, chance, stop, lost = context.settings, random.Random(7), threading.Event(), []

    def build() -> None:
        for n in range(300):
            tree = settings.builds / f"t{chance.randint(1, 20)}"
            run = Run(f"run{n}", "shop", "build", "c", {"layout": {"tree": tree.name}}, (), NOW)
            with context.records.transaction() as tx:
                tx.put(RUNS, run)
            if not tree.exists():
                _folder(tree, size=1)
            for _ in range(5):
                lost.extend([] if (tree / "file").exists() else [tree.name])
            with context.records.transaction() as tx:
                tx.put(RUNS, replace(run, state=RunState.SUCCEEDED))
        stop.set()

    thread = threading.Thread(target=build)
    thread.start()
    collections = 0
    while not stop.is_set():
        collections += collect(context, Policy(grace=timedelta(0)), dry_run=False).deleted > 0
    thread.join()
    assert collections > 5
    assert lost == []
