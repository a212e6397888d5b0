"""`python -m conveyor.sdk.worker`: starts steps in the time of a fork.

A process that has imported what every step needs reads requests, a line of JSON each, from its standard input, and
forks for each: the child has a session, a log and an environment of its own, imports the user's code anew and ends
with the step, so that steps cannot harm each other nor this process. `{id, pid}` is answered when one has begun,
`{id, code, usage}` when it has ended. At the end of its input it ends what still runs, and itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from conveyor.domain import wire
from conveyor.domain.step import StepSpec
from conveyor.sdk import process
from conveyor.sdk.step import build

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None  # not anew in every child


def serve(commands: int, answers: int) -> None:
    _warm()
    gc.freeze()  # what is there now is never looked at again, so that children share its pages
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, str] = {}
    pending = b""
    while True:
        ready, _, _ = select.select([commands, wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            _reap(running, answers)
        if commands not in ready:
            continue
        more = os.read(commands, 1 << 16)
        if not more:
            break
        *lines, pending = (pending + more).split(b"\n")
        for line in lines:
            request = json.loads(line)
            pid = _fork(request)
            running[pid] = request["id"]
            _answer(answers, id=request["id"], pid=pid)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def nothing(number: int) -> None:
    """What a step does that does nothing."""


def _warm() -> None:
    """Once through all that every step goes through, so that each child finds it done."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, 0)
    with tempfile.TemporaryDirectory() as folder:
        spec = wire.from_builtins({"function": f"{__name__}:nothing", "inputs": [], "params": {"number": 1}}, StepSpec)
        wire.to_json(build(spec, Path(folder)))


def _reap(running: dict[int, str], answers: int) -> None:
    for pid in list(running):
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it left behind in its group ends with it
            code = os.waitstatus_to_exitcode(status)
            _answer(answers, id=running.pop(pid), code=code if code >= 0 else 128 - code, rss=usage.ru_maxrss)


def _answer(answers: int, **what: Any) -> None:
    os.write(answers, json.dumps(what).encode() + b"\n")


def _fork(request: dict[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _enter(request)
        code = _work(request)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _enter(request: dict[str, Any]) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Nothing of the answers' pipe is left in the child.
    os.closerange(3, max(log, null, 64) + 1)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])


def _work(request: dict[str, Any]) -> int:
    """Without fsync: whoever asked makes the outputs durable, or has the step run again."""
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    try:
        report = build(wire.from_builtins(request["spec"], StepSpec), out)
    except (Exception, SystemExit) as error:
        return process.failed(error, out)
    (out / "step.json").write_bytes(wire.to_json(report))
    return 0


if __name__ == "__main__":
    serve(0, os.dup(1))
