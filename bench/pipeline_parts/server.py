"""A Conveyor of its own for a benchmark: steps of a pushed project at the control plane."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.domain.requests import RunSteps
from conveyor.domain.run import Run, RunState

EACH = """
[step.each{n}]
command = "mkdir -p parts/{n} && awk '$1 % 7 == {n} - 1' data.txt > parts/{n}/rows.txt"
deps = ["data.txt"]
outs = ["parts/{n}"]
"""
CONFIG = """
[project]
name = "bench"
[environment.production]
[step.first]
command = "seq $CONVEYOR_PARAM_ROWS > data.txt"
params = { rows = 100 }
deps = ["words.txt"]
outs = ["data.txt"]
[step.count]
command = "wc -l < parts/1/rows.txt > count.txt"
deps = ["parts/1"]
outs = ["count.txt"]
[step.report]
command = "cat parts/*/rows.txt | wc -l > report.txt"
deps = ["parts", "count.txt"]
outs = ["report.txt"]
[step.a]
command = "sleep 5"
deps = ["words.txt"]
[step.b]
command = "sleep 5"
deps = ["words.txt"]
"""
TEN = ("report",)  # and the nine before it


@dataclass(frozen=True, slots=True)
class Served:
    client: Client

    def run(self, *steps: str, force: bool = False) -> tuple[Run, float]:
        """The run once it has ended, and the seconds from the request to that."""
        began = time.perf_counter()
        run = self.client.run_steps("bench", RunSteps(steps, force=force))
        while run.state is RunState.RUNNING:
            time.sleep(0.02)
            run = self.client.run(run.id)
        assert run.state is RunState.SUCCEEDED, run.error
        return run, time.perf_counter() - began

    def nothing(self, rounds: int) -> float:
        """The median of runs in which nothing has to run."""
        first, _ = self.run(*TEN)
        assert len(first.steps) == 10
        return statistics.median(self.run(*TEN)[1] for _ in range(rounds))


@contextmanager
def serving(scratch: Path) -> Iterator[Served]:
    source = scratch / "source"
    source.mkdir()
    (source / "conveyor.toml").write_text(CONFIG + "".join(EACH.format(n=n) for n in range(1, 8)))
    (source / "words.txt").write_text("first\n")
    home = scratch / ".conveyor"
    settings = lifecycle.up(home)
    try:
        client = lifecycle.client(home)
        remote = (
            f"http://conveyor:{settings.token_file.read_text().strip()}@127.0.0.1:{settings.api_port}/git/bench.git"
        )
        for words in (
            ("init", "-q", "-b", "main"),
            ("add", "-A"),
            ("-c", "user.name=B", "-c", "user.email=b@example.org", "commit", "-q", "-m", "Steps"),
            ("push", "-q", remote, "main"),
        ):
            subprocess.run(["git", *words], cwd=source, check=True, capture_output=True)
        deadline = time.monotonic() + 120
        while not any(run.ended for run in client.runs(kind="build")):
            assert time.monotonic() < deadline, "the build has not ended"
            time.sleep(0.1)
        yield Served(client)
    finally:
        lifecycle.down(home)
