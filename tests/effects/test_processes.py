"""Against a real supervisord."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conveyor.effects.identity import identity
from conveyor.effects.processes import Processes, Program
from conveyor.errors import InputRejected, NotFound, Unavailable

AWKWARD = "100% %(here)s ; # 'single' \"double\" $HOME `id` \\ \n second line"
SHOW = "import json,os,sys,time; print(json.dumps([sys.argv[1:], dict(os.environ)]), flush=True); time.sleep(600)"


def eventually(check: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "run")
    yield found
    found.shutdown()


def program(tmp_path: Path, name: str = "web-1.0", **changes: Any) -> Program:
    plain = Program(name, (sys.executable, "-c", SHOW, AWKWARD), tmp_path, {"TOKEN": AWKWARD}, tmp_path / f"{name}.log")
    return replace(plain, **changes)


def test_a_program_lives_through_its_changes(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_SHELL", "hunter2")
    first = program(tmp_path)
    assert not processes.alive()
    with pytest.raises(Unavailable):
        processes.list()

    processes.start_supervisor([first])
    processes.start_supervisor([first])
    assert processes.alive()
    eventually(lambda: processes.list()[first.name].state == "RUNNING")
    before = processes.list()[first.name]
    assert before.up
    assert before.started_at is not None

    eventually(lambda: first.log.read_text().endswith("\n"))
    argv, env = json.loads(first.log.read_text())
    assert argv == [AWKWARD]
    assert env["TOKEN"] == AWKWARD
    assert "A_SECRET_OF_THE_SHELL" not in env

    # Also for another process that never saw it: what runs is compared, not what was remembered.
    Processes(tmp_path / "run").ensure(first)
    processes.ensure(first)
    assert processes.list()[first.name].pid == before.pid

    changed = replace(first, env={"TOKEN": "new"})
    processes.ensure(changed)
    eventually(lambda: processes.list()[first.name].up)
    assert processes.list()[first.name].pid != before.pid
    assert before.pid is not None
    assert identity(before.pid) is None

    eventually(lambda: processes.list()[first.name].state == "RUNNING")
    killed = processes.list()[first.name].pid
    assert killed is not None
    processes.signal(first.name, signal.SIGKILL)
    eventually(lambda: processes.list()[first.name].pid not in (None, killed))

    restarted = processes.list()[first.name].pid
    processes.restart(first.name)
    eventually(lambda: processes.list()[first.name].pid not in (None, restarted))

    processes.stop(first.name)
    eventually(lambda: processes.list()[first.name].state == "STOPPED")
    processes.ensure(changed)
    eventually(lambda: processes.list()[first.name].up)

    processes.remove(first.name)
    processes.remove(first.name)
    assert processes.list() == {}
    assert list((tmp_path / "run" / "launch").iterdir()) == []
    with pytest.raises(NotFound):
        processes.restart(first.name)


def test_an_unwilling_group_is_killed_and_a_failing_program_is_tried_again(
    processes: Processes, tmp_path: Path
) -> None:
    deaf = "trap '' TERM; sleep 600 & echo $!; wait; wait"
    stubborn = program(tmp_path, "stubborn", argv=("/bin/sh", "-c", deaf), stop_seconds=1)
    counter = tmp_path / "tries"
    failing = program(tmp_path, "failing", argv=("/bin/sh", "-c", f"echo x >> '{counter}'; exit 3"))
    once = program(tmp_path, "once", argv=("/bin/sh", "-c", "sleep 1.5; exit 4"), autorestart=False)
    processes.start_supervisor([stubborn, failing, once])
    eventually(lambda: stubborn.log.exists() and stubborn.log.read_text().endswith("\n"))
    grandchild = int(stubborn.log.read_text())
    processes.remove("stubborn")
    eventually(lambda: identity(grandchild) is None)

    eventually(lambda: counter.exists() and len(counter.read_text().split()) >= 3)
    eventually(lambda: processes.list()["once"].state == "EXITED")
    assert processes.list()["once"].exit == 4
    processes.ensure(once)
    assert processes.list()["once"].state == "EXITED"


def test_programs_of_a_killed_supervisord_are_ended_before_the_next(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a folder with a long name, 50% #1 ;"[:30]] * 8)
    processes = Processes(deep / "run")
    try:
        processes.start_supervisor([program(deep, cwd=tmp_path)])
        assert len(os.fsencode(processes.socket)) < 100
        eventually(lambda: processes.list()["web-1.0"].up)
        left = processes.list()["web-1.0"].pid
        assert left is not None
        os.kill(processes.pid(), signal.SIGKILL)
        eventually(lambda: not processes.alive())
        assert identity(left) is not None
        again = Processes(deep / "run")
        again.start_supervisor()
        assert identity(left) is None
        assert set(again.list()) == {"web-1.0"}, "programs are kept in files"
    finally:
        processes.shutdown()
    assert not processes.alive()


@pytest.mark.parametrize(
    "wrong", [{"name": "a:b"}, {"argv": ()}, {"env": {"A-B": "1"}}, {"env": {"A": "nul\0"}}], ids=str
)
def test_what_supervisord_cannot_hold_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputRejected):
        Processes(tmp_path / "run").start_supervisor([program(tmp_path, **wrong)])
