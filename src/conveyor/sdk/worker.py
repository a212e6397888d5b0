"""`python -m conveyor.sdk.worker`: starts steps in the time of a fork, or of a message.

A process that has imported what every step needs reads requests, a line of JSON each, from its standard input, and
hands each to a child of its own: with a session, a log and an environment of its own, and with the user's code imported
anew, so that steps cannot harm each other nor this process. `{id, pid}` is answered when one has begun, `{id, code}`
when it has ended; `{id, signal}` ends one. At the end of its input it ends what still runs, and itself.

A fork costs more than a small step does. So a child that has come through a step as it was (quickly, with no thread or
process more, hardly larger) takes the next one; every other child ends with its step.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import logging
import os
import resource
import select
import signal
import sys
import sysconfig
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from conveyor.domain import wire
from conveyor.domain.step import StepSpec
from conveyor.sdk import process
from conveyor.sdk.step import build

_QUICK_SECONDS = 0.2  # a fork is not felt beside a step that takes longer
_GROWTH_KB = 64 * 1024
_STDLIB = sysconfig.get_path("stdlib")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None  # not anew in every child


def serve(commands: int, answers: int) -> None:
    _warm()
    gc.freeze()  # what is there now is never looked at again, so that children share its pages
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children = Children(answers)
    pending = b""
    while True:
        ready, _, _ = select.select([commands, wake, *children.pipes], [], [])
        children.hear(ready)
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            children.reap()
        if commands not in ready:
            continue
        more = os.read(commands, 1 << 16)
        if not more:
            break
        *lines, pending = (pending + more).split(b"\n")
        for line in lines:
            children.give(line)
    children.end()


class Children:
    """The processes that do steps, one at a time each. `pipes` are those by which they say that a step has ended."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._busy: dict[int, str] = {}  # pid -> the step that it does
        self._idle: list[int] = []
        self._ends: dict[int, tuple[int, int]] = {}  # pid -> (read its answers, write its requests)
        self.pipes: dict[int, int] = {}  # read end -> pid

    def give(self, line: bytes) -> None:
        """A step to do, or a signal for the one who does it: ignored when that has ended meanwhile."""
        asked = json.loads(line)
        id_ = asked["id"]
        if "signal" in asked:
            for pid in [pid for pid, step in self._busy.items() if step == id_]:
                _end(pid, asked["signal"])
            return
        pid = self._idle.pop() if self._idle else self._fork()
        self._busy[pid] = id_
        _answer(self._answers, id=id_, pid=pid)
        with contextlib.suppress(BrokenPipeError):  # it has just died; that is answered when it is reaped
            _write(self._ends[pid][1], line + b"\n")

    def hear(self, ready: list[int]) -> None:
        for read in ready:
            if (pid := self.pipes.get(read)) is None:
                continue
            said = os.read(read, 4096)
            if not said:  # it has ended, or is about to: reaped then
                del self.pipes[read]
            elif pid in self._busy:
                _answer(self._answers, id=self._busy.pop(pid), code=0)
                self._idle.append(pid)

    def reap(self) -> None:
        for pid in list(self._ends):
            found, status, _ = os.wait4(pid, os.WNOHANG)
            if not found:
                continue
            _end(pid)  # what it left behind in its group ends with it
            read, write = self._ends.pop(pid)
            self.pipes.pop(read, None)
            os.close(read)
            os.close(write)
            if pid in self._idle:
                self._idle.remove(pid)
            if pid in self._busy:
                code = os.waitstatus_to_exitcode(status)
                _answer(self._answers, id=self._busy.pop(pid), code=code if code >= 0 else 128 - code)

    def end(self) -> None:
        for pid in self._ends:
            _end(pid)

    def _fork(self) -> int:
        parent = os.getpid()
        requests, give = os.pipe()
        hear, says = os.pipe()
        pid = os.fork()
        if pid:
            os.close(requests)
            os.close(says)
            self._ends[pid] = (hear, give)
            self.pipes[hear] = pid
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
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            code = _steps(requests, says)
        finally:
            os._exit(code)


def nothing(number: int) -> None:
    """What a step does that does nothing."""


def _warm() -> None:
    """Once through all that every step goes through, so that each child finds it done."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, 0)
    with tempfile.TemporaryDirectory() as folder:
        spec = wire.from_builtins({"function": f"{__name__}:nothing", "inputs": [], "params": {"number": 1}}, StepSpec)
        wire.to_json(build(spec, Path(folder)))


def _answer(answers: int, **what: Any) -> None:
    os.write(answers, json.dumps(what).encode() + b"\n")


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def _end(group: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _steps(requests: int, says: int) -> int:
    """In a child: step after step, for as long as it stays as it was. The exit code is that of the last one."""
    requests, says = _moved(requests, says)
    started = _Self()
    lines = os.fdopen(requests, "rb")
    while line := lines.readline():
        request = json.loads(line)
        _enter(request)
        began = time.monotonic()
        code = _work(request)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        if code or time.monotonic() - began > _QUICK_SECONDS or not started.leave(request["cwd"]):
            return code
        os.write(says, b"1")
    return 0


def _moved(requests: int, says: int) -> tuple[int, int]:
    """The two pipes, alone: what the parent had open is closed. No process that a step starts gets them."""
    high = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 5) for pipe in (requests, says)]
    for place, pipe in enumerate(high, start=3):
        os.dup2(pipe, place, inheritable=False)
    os.closerange(5, os.sysconf("SC_OPEN_MAX"))
    return 3, 4


class _Self:
    """What this process was before its first step."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._modules = set(sys.modules)
        self._size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._traits = _traits()

    def leave(self, project: str) -> bool:
        """Forgets the project's code; False where more than that is left of a step."""
        if _traits() != self._traits or _has_children():
            return False
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._size > _GROWTH_KB:
            return False
        new = {name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - self._modules}
        for name, file in new.items():
            if file.startswith(f"{project}/") and "/site-packages/" not in file and file.endswith((".py", ".pyc")):
                del sys.modules[name]
            elif not file.startswith(f"{_STDLIB}/") or "/site-packages/" in file:
                return False  # a library of others may not bear to be imported twice, and keeps what it was told
        sys.path[:] = self._path
        importlib.invalidate_caches()
        return True


def _traits() -> tuple[object, ...]:
    """Of the process as a whole, what a step may have changed for the next."""
    handlers = tuple(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM))
    loggers = len(logging.root.handlers), logging.root.level
    streams = sys.stdin, sys.stdout, sys.stderr, sys.excepthook
    mask = os.umask(0o022)
    os.umask(mask)
    return _threads(), handlers, loggers, streams, mask, signal.getitimer(signal.ITIMER_REAL), tuple(warnings.filters)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208
    except OSError:
        return -1


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _enter(request: dict[str, Any]) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)
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
