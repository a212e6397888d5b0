"""A project's own steps at a real server: what would run and why, at once, with limits and secrets, through a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.domain.requests import Cancel, RunSteps, SetSecret
from conveyor.domain.run import Run, RunState, StepState
from conveyor.errors import Conflict

from .system import NAME, System

CONFIG = """
[project]
name = "tiny"
[step.raw]
run = "flow:raw"
params = { rows = 6 }
[step.split]
run = "flow:split"
inputs = ["step.raw"]
[step.fit]
run = "flow:fit"
inputs = ["step.split:train"]
metrics = ["fit.json"]
[step.report]
command = "cat fit.json words.txt > report.txt"
deps = ["fit.json", "words.txt"]
outs = ["report.txt"]
[step.told]
command = "test $TOLD = alpha-7f3k-value && test -z \\"$OTHER\\" && echo it is $TOLD && echo ok > told.txt"
deps = ["words.txt"]
outs = ["told.txt"]
secrets = ["TOLD"]
[step.one]
command = "echo $$ >> TRACE.one; until test -e TRACE.go; do sleep 0.1; done; echo 1 > $CONVEYOR_OUTPUT/one"
deps = ["words.txt"]
[step.two]
command = "echo $$ >> TRACE.two; until test -e TRACE.go; do sleep 0.1; done; echo 2 > $CONVEYOR_OUTPUT/two"
deps = ["words.txt"]
[step.large]
run = "flow:large"
memory_mb = 300
[step.flaky]
command = "test -e TRACE.tried || { touch TRACE.tried; exit 3; }"
deps = []
retries = 1
needs = ["slow"]
[step.slow]
command = "sleep 60 & sleep 60"
deps = ["words.txt"]
timeout = "0.5s"
[environment.production]
"""
FLOW = """
import json
import time
import polars as pl
def raw(rows):
    return pl.DataFrame({"x": list(range(rows))})
def split(raw: pl.DataFrame):
    return {"train": raw.head(4), "test": raw.tail(2)}
def fit(train: pl.DataFrame):
    with open("fit.json", "w") as file:
        json.dump({"total": int(train["x"].sum())}, file)
def large():
    held = [bytes(b"x" * 2**20) for _ in range(900)]
    time.sleep(30)
"""


class Server(System):
    def conveyor(self, *words: str, code: int = 0) -> str:
        env = os.environ | {"CONVEYOR_HOME": str(self.settings.home)}
        done = subprocess.run(
            [Path(sys.executable).with_name("conveyor"), *words],
            cwd=self.source, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ended(self, run: Run) -> Run:
        return self.client.wait(run.id, seconds=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("steps"))
    try:
        made.start()
        made.write("conveyor.toml", CONFIG.replace("TRACE", str(made.trace)))
        made.write("flow.py", FLOW)
        made.write("words.txt", "first\n")
        commit = made.push("Steps")
        made.wait(lambda: [r for r in made.client.runs(kind="build") if r.ended], "the build", 120)
        assert made.client.run_of_commit(NAME, commit).state is RunState.SUCCEEDED
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(240)
def test_what_runs_and_why_and_nothing_twice(server: Server) -> None:
    planned = server.conveyor("run", "--server", "report", "--dry-run")
    assert "raw     would run  it never ran here" in planned
    assert "report  may run    fit runs first" in planned
    said = server.conveyor("run", "--server", "report")
    assert "4 steps: 4 ran" in said, said
    run = server.client.run_steps(NAME, RunSteps(("report",)))
    assert run.state is RunState.SUCCEEDED, "over when the request is answered"
    assert {step.state for step in run.steps} == {StepState.CACHED}
    assert server.conveyor("run", "--server", "report") == "4 steps: up to date\n"

    other = server.conveyor("run", "--server", "fit", "--param", "rows=3", "--quiet")
    assert "raw: ran" in other
    assert "(param rows: 6 -> 3)" in other
    back = json.loads(server.conveyor("run", "--server", "report", "--json"))
    assert back["result"] == {"cached": 4}
    assert "raw     would run  it was asked for by --force" in server.conveyor(
        "run", "--server", "report", "--force", "--dry-run"
    )

    # A working folder takes from the same store what the control plane made of the same content.
    here = json.loads(server.conveyor("run", "report", "--json"))
    assert {each["step"]: each["verdict"] for each in here} == dict.fromkeys(
        ("raw", "split", "fit", "report"), "cached"
    )
    assert (server.source / "report.txt").read_text() == '{"total": 6}first\n'


@pytest.mark.timeout(240)
def test_secrets_limits_failures_and_cancelling(server: Server) -> None:
    with pytest.raises(Conflict, match="secret TOLD has no value"):
        server.client.run_steps(NAME, RunSteps(("told",)))
    for name, value in (("TOLD", "alpha-7f3k-value"), ("OTHER", "beta-9x2m-value")):
        server.client.set_secret(NAME, "production", name, SetSecret(value))
    run = server.ended(server.client.run_steps(NAME, RunSteps(("told",))))
    assert run.state is RunState.SUCCEEDED, run.error
    log = "".join(server.client.follow(run.id, "told"))
    assert "it is ***" in log
    assert "alpha" not in repr(run) + log
    server.client.set_secret(NAME, "production", "TOLD", SetSecret("gamma-value"))
    assert "secret TOLD changed" in server.conveyor("run", "--server", "told", "--dry-run")

    large = server.client.run_steps(NAME, RunSteps(("large",)))
    slow = server.client.run_steps(NAME, RunSteps(("flaky",)))
    ended = server.ended(large)
    assert "MB of memory, and its memory_mb is 300" in ended.error
    assert "timed out after 0.5 s" in server.ended(slow).error
    assert server.ended(slow).step("flaky").state is StepState.CANCELLED

    waiting = server.client.run_steps(NAME, RunSteps(("one", "two")))
    traces = [Path(f"{server.trace}.{name}") for name in ("one", "two")]
    server.wait(lambda: all(path.exists() for path in traces), "both steps at once", 30)
    server.client.cancel(waiting.id, Cancel("enough"))
    assert server.ended(waiting).state is RunState.CANCELLED
    assert server.conveyor("run", "--server", "--detach", "nope", code=1).count("there is no step 'nope'") == 1


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found again by /proc")
def test_a_run_goes_on_when_the_control_plane_was_killed(server: Server) -> None:
    traces = [Path(f"{server.trace}.{name}") for name in ("one", "two")]
    for path in traces:
        path.unlink(missing_ok=True)
    run = server.client.run_steps(NAME, RunSteps(("one", "two")))
    server.wait(lambda: all(path.exists() for path in traces), "both steps at once", 30)
    control = next(p.pid for p in server.client.status().processes if p.name == "control")
    assert control
    os.kill(control, signal.SIGKILL)
    Path(f"{server.trace}.go").touch()
    server.wait(lambda: server.client.run(run.id).ended, "the end of the run", 60)
    assert server.client.run(run.id).state is RunState.SUCCEEDED
    assert [len(path.read_text().split()) for path in traces] == [1, 1], "each ran once"
