"""`kill -9` of the control plane at every boundary of a push and of a rollback: each ends as it would have.

The boundaries are not listed here: a first push and rollback show which there are.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.orders import Orders
from e2e.system import Traffic

from conveyor import app
from conveyor.config.settings import Settings
from conveyor.domain import requests
from conveyor.domain.rollout import Phase
from conveyor.domain.run import RunState
from conveyor.effects.processes import Program

SEED = 20260101
ROLLBACK = ("event rollout.aborted", "event rollout.rolled_back", "event rollout.advanced aborting")
SILENT = ("event monitor", "event governor", "event system", "event code.superseded")


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orders]:
    made = Orders(tmp_path_factory.mktemp("boundaries"))
    real = app.control_program

    def crashing(settings: Settings) -> Program:
        argv = (sys.executable, str(Path(__file__).parent / "crashing.py"), str(settings.home))
        return replace(real(settings), argv=argv)

    monkeypatch.setattr(app, "control_program", crashing)
    try:
        made.start()
        made.replace("conveyor.toml", 'hold = "4s"\nwatch = "6s"', 'hold = "200ms"\nwatch = "2s"')
        made.wait_live(made.push("Version 0"), 120)
        yield made
    finally:
        made.stop()


def _passed(system: Orders) -> list[str]:
    lines = (system.settings.home / "boundaries.txt").read_text().splitlines()
    return [fact for fact in dict.fromkeys(lines) if not fact.startswith(SILENT)]


def _push(system: Orders, number: str) -> str:
    system.write("number.txt", number)
    return system.push(f"Version {number}")


def _roll_back(system: Orders) -> None:
    """Once all traffic is on the new release, and it is still watched."""

    def watched() -> bool:
        environment = system.environment()
        return environment is not None and environment.rollout is not None and environment.rollout.phase is Phase.LIVE

    system.wait(watched, "the watch window", 60)
    system.client.rollback("orders", "production", requests.Rollback(reason="a test"))


def _check(system: Orders, about: str) -> None:
    runs = [run for run in system.client.runs(limit=50) if run.state is not RunState.SUCCEEDED]
    assert not runs, (about, [(run.kind, run.state, run.error) for run in runs])
    environment = system.environment()
    assert environment is not None, about
    assert environment.rollout is None, about
    system.wait(lambda: len(_services(system)) == 1, f"one version alone {about}", 20)


def _services(system: Orders) -> list[str]:
    return [process.name for process in system.client.status().processes if "service.web" in process.name]


@pytest.mark.timeout(1500)
def test_every_boundary(system: Orders) -> None:
    chance = random.Random(SEED)
    (system.settings.home / "boundaries.txt").unlink()
    system.wait_live(_push(system, "first"), 90)
    ways_forward = _passed(system)
    (system.settings.home / "boundaries.txt").unlink()
    position = system.newest()
    _push(system, "rolled back")
    _roll_back(system)
    system.event(position, "rollout.rolled_back")
    ways_back = [fact for fact in _passed(system) if fact.startswith(ROLLBACK)]
    assert len(ways_forward) >= 20, ways_forward
    assert len(ways_back) >= 2, ways_back
    system.wait(system.settled, "rest")

    crashed = []
    with Traffic(system.settings.public_port).running() as traffic:
        for fact in (*ways_forward, *ways_back):
            for side in ("after", "before") if chance.random() < 0.4 else ("after",):
                armed = system.settings.home / "crash.txt"
                armed.write_text(f"{side} {fact}\n")
                before, position = system.live(), system.newest()
                commit = _push(system, f"{side} {fact}")
                if fact in ways_back:
                    _roll_back(system)
                    system.event(position, "rollout.rolled_back", seconds=60)
                else:
                    system.wait_live(commit, 90)
                system.wait(lambda: not armed.exists(), f"the crash {side} {fact}", 5)  # noqa: B023
                system.wait(system.settled, f"rest {side} {fact}", 60)
                _check(system, f"{side} {fact}")
                live = system.live()
                assert live == before if fact in ways_back else live is not None and live[0] == commit, (side, fact)
                crashed.append(f"{side} {fact}")
                assert not traffic.bad, (side, fact, traffic.causes)
    kills, boundaries = len(crashed), len(ways_forward) + len(ways_back)
    print(f"{kills} kills at {boundaries} boundaries, {sum(traffic.good.values())} requests")
    assert not system.events(0, "step.lost")
