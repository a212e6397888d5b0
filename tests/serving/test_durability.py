"""What the log still has after `kill -9`, and what a disk that refuses costs, in both modes."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from conveyor.serving.log import WINDOW_SECONDS

from .support import Artifact, Load, ModelServer, Start, logged, matrix, poll


@pytest.mark.parametrize("words", [(), ("--sync",)], ids=["batched", "sync"])
def test_a_kill_under_load(start: Start, artifact: Artifact, words: tuple[str, ...]) -> None:
    """In sync mode nothing acknowledged is missing, in batched nothing that was before the stated window."""
    server = start(*words)
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    assert "".join(path.read_text() for path in children) == ""
    load = Load(server, artifact.rows[:1])
    poll(lambda: len(load.answered) > 1000, "answers")
    killed = time.monotonic()
    os.kill(server.process.pid, signal.SIGKILL)
    load.end()
    server.process.wait()

    before = killed + 9 if words else killed - WINDOW_SECONDS
    due = {id for at, id in load.answered if at < before}
    assert len(due) > 500
    assert due <= set(logged(server))

    # A new server leaves the dead one's open segment alone.
    files = {path.name for path in server.observations.iterdir()}
    other = start(observations=server.observations)
    other.infer(matrix(artifact.rows[:1]), id="after")
    assert other.terminate()[0] == 0
    assert files < {path.name for path in server.observations.iterdir()}
    assert {"after"} | due <= set(logged(other))


@pytest.mark.parametrize("words", [(), ("--sync",)], ids=["batched", "sync"])
def test_a_full_disk_costs_observations_not_answers(start: Start, artifact: Artifact, words: tuple[str, ...]) -> None:
    server, hard = start(*words), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, hard))  # no file may grow
    answer = server.infer(matrix(artifact.rows[:2]))
    assert answer.status_code == 200
    assert answer.headers.get("x-conveyor-observation") == ("lost" if words else None)
    poll(lambda: _figure(server, "lost_total") == 2, "the counted loss")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    again = server.infer(matrix(artifact.rows[:1]), id="again")
    assert "x-conveyor-observation" not in again.headers
    poll(lambda: set(logged(server)) == {"again"}, "the log's return")
    assert _figure(server, "lost_total") == 2
    assert (_figure(server, "sync"), _figure(server, "window_seconds")) == ((1, 0) if words else (0, 0.05))
    assert 0 < _figure(server, "longest_wait_seconds") < 10
    code, said = server.terminate()
    assert (code, len(said.splitlines())) == (0, 2)
    assert "observations are lost, serving goes on" in said
    assert "kept again; lost: 2" in said


def _figure(server: ModelServer, name: str) -> float:
    found = re.search(rf"conveyor_observations_{name}{{.*}} (.*)\n", server.client.get("/metrics").text)
    assert found is not None
    return float(found[1])


def test_large_and_small_requests_wait_for_the_disk(start: Start, artifact: Artifact) -> None:
    server = start("--sync")
    many = np.tile(artifact.rows, (3, 1))
    assert server.infer(matrix(many), id="large").status_code == 200
    assert server.infer(matrix(artifact.rows[:1]), id="small").status_code == 200
    assert server.infer(matrix(artifact.rows[:1, :3])).status_code == 400
    server.process.kill()
    server.process.wait()
    assert {id: one.rows for id, one in logged(server).items()} == {"large": len(many), "small": 1}
