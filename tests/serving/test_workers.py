"""A server of two processes under load: one dies, both drain, the parent dies."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import httpx

from .support import Artifact, Load, ModelServer, Start, damaged, free_port, logged, matrix, poll, spawn


def _workers(server: ModelServer) -> set[int]:
    found = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return {int(pid) for path in found for pid in path.read_text().split()}


def _requests(server: ModelServer) -> int:
    text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text  # a new connection: any of them may answer
    found = re.search(r'conveyor_inference_requests_total{.*code="200"} (\d+)', text)
    return int(found[1]) if found else 0


def test_workers_share_die_are_replaced_and_drain(start: Start, artifact: Artifact, tmp_path: Path) -> None:
    server = start("--workers", "2", "--socket", str(tmp_path / "s"))
    poll(lambda: len(_workers(server)) == 2, "two workers")
    load = Load(server, artifact.rows[:1], clients=8)
    poll(lambda: len(load.answered) > 400 and len({id.partition("-")[0] for _, id in load.answered}) == 2, "both")
    before = _workers(server)
    dead = min(before)
    os.kill(dead, signal.SIGKILL)
    poll(lambda: len(_workers(server)) == 2 and dead not in _workers(server), "a new worker")
    poll(
        lambda: len({id.partition("-")[0] for _, id in load.answered}) == 3,
        "its answers",
    )
    load.end()
    answers = len(load.answered)
    assert load.statuses == {200}
    assert load.broken <= 8  # at most one request of each client was in the dead worker
    assert answers <= _requests(server) <= answers + load.broken  # the dead one's count goes on
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s")), base_url="http://model") as beside:
        assert beside.post("/v2/models/fraud/infer", json={"inputs": [matrix(artifact.rows[:1])]}).status_code == 200
    code, said = server.terminate()
    assert code == 0
    assert said.splitlines() == [f"conveyor.serving: worker {said.split()[2]} ended (SIGKILL), another is started"]
    assert not (tmp_path / "s").exists()
    assert len(logged(server)) >= answers - 400  # what the dead worker had not written is at most a window
    assert len({path.name.split("-")[1] for path in server.observations.iterdir()}) == 3


def test_nothing_is_left_of_a_killed_parent_and_its_place_can_be_taken(start: Start, artifact: Artifact) -> None:
    server = start("--workers", "2")
    poll(lambda: len(_workers(server)) == 2, "two workers")
    workers = _workers(server)
    server.process.kill()
    server.process.wait()
    other = spawn(artifact.directory, server.observations, server.port, "--workers", "2")
    try:
        taken = ModelServer(other, server.port, server.observations)
        taken.wait_ready()
        poll(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "their end")
        assert taken.infer(matrix(artifact.rows[:1])).status_code == 200
    finally:
        taken.kill()


def test_why_it_cannot_serve_is_said_once(artifact: Artifact, tmp_path: Path) -> None:
    process = spawn(damaged(artifact, tmp_path, 0.123), tmp_path / "observations", free_port(), "--workers", "2")
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert errors.count("scored 0.123 at training") == 1
