"""`kill -9` of the control plane under traffic: the work ends as it would have, and nothing runs twice at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from e2e.system import System, Traffic, rows

from conveyor.domain.rollout import Phase
from conveyor.domain.run import RunState

SEED = 20260101


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("chaos"))
    try:
        made.start()
        commit = made.push("First version")
        for day in range(4):
            made.land(rows(day), f"day-{day}.parquet")
        made.wait_live(commit, 180)
        yield made
    finally:
        made.stop()


def _control(system: System) -> int:
    """The pid of the control plane that answers."""
    found = system.wait(lambda: [p.pid for p in system.client.status().processes if p.name == "control"], "control")
    pid: int = found[0]
    return pid


def _kill(system: System, delay: float) -> int:
    pid = _control(system)
    time.sleep(delay)  # the moment is random on purpose
    os.kill(pid, signal.SIGKILL)
    system.wait(lambda: _control(system) != pid, "the next control plane", 60)
    return pid


def _running(system: System, kind: str) -> Callable[[], bool]:
    return lambda: any(run.kind == kind for run in system.client.status().runs)


def _phase(system: System, *phases: Phase) -> Callable[[], bool]:
    def reached() -> bool:
        environment = system.environment()
        return environment is not None and environment.rollout is not None and environment.rollout.phase in phases

    return reached


def _spans(system: System) -> dict[str, list[tuple[float, float]]]:
    """kind -> (start, end) of every run of a step, in order; one that has no end was killed."""
    begun: dict[tuple[str, str], float] = {}
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in system.trace.read_text().splitlines():
        what, kind, pid, at = line.split()
        if what == "start":
            begun[kind, pid] = float(at)
        else:
            spans[kind].append((begun.pop((kind, pid)), float(at)))
    assert not begun, f"steps that never ended: {begun}"
    return {kind: sorted(found) for kind, found in spans.items()}


@pytest.mark.timeout(300)
def test_work_survives_the_control_plane(system: System) -> None:
    chance, killed = random.Random(SEED), []
    with Traffic(system.settings.public_port).running() as traffic:
        system.service("2")
        commit = system.push("Version 2")
        system.wait(_running(system, "build"), "a build")
        killed.append(_kill(system, chance.uniform(0, 1.5)))
        system.wait_live(commit)

        system.land(rows(4), "day-4.parquet")
        system.wait(_running(system, "ingest"), "an ingest")
        killed.append(_kill(system, chance.uniform(0, 0.5)))
        system.wait(_running(system, "train"), "a training")
        killed.append(_kill(system, chance.uniform(0, 1.5)))
        system.wait(lambda: system.models().get("risk") == 2, "model version 2 to be live", 90)

        for version, phases in (("3", (Phase.PREPARE, Phase.START)), ("4", (Phase.CANARY,))):
            system.service(version)
            commit = system.push(f"Version {version}")
            system.wait(_phase(system, *phases, Phase.CANARY), "a rollout")
            killed.append(_kill(system, chance.uniform(0, 0.4)))
            system.wait_live(commit)
        system.wait(system.settled, "rest")

    assert len(set(killed)) == 5
    assert not traffic.bad, traffic.causes
    assert set(traffic.texts) == {"1", "2", "3", "4"}
    runs = system.client.runs(limit=1000)
    assert {run.state for run in runs} == {RunState.SUCCEEDED}, [(run.kind, run.error) for run in runs]
    assert len({run.subject for run in runs if run.kind == "build"}) == 4
    live = system.live()
    assert live == (commit, {"risk": 2})
    assert not system.events(0, "rollout.aborted", "step.lost")
    spans = _spans(system)
    assert {kind: len(found) for kind, found in spans.items()} == {"test": 4, "train": 2}
    for found in spans.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(found))
