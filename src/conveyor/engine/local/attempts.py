"""One attempt of a step on this machine: a shell command, or a function in a forked worker; both can be ended.

What runs is on record with its process group and start time, so that the next run ends what a killed one left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from conveyor.effects.identity import end_group, group_alive, identity
from conveyor.errors import Unavailable

_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    timed_out: bool = False


class Groups:
    """The process groups that run now, in a file of the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._running: dict[int, str] = {}
        self.stopping = False

    def end_remains(self) -> int:
        """Ends what an earlier run left when it was killed; how many there were."""
        try:
            kept = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return 0
        # A leader with another start time is a stranger; a group whose leader is gone keeps its number while it lives.
        found = [group for group, who in kept if identity(group) in (None, who) and group_alive(group)]
        for group in found:
            end_group(group, seconds=0.0)
        self._path.unlink(missing_ok=True)
        return len(found)

    @contextmanager
    def entered(self, group: int) -> Iterator[None]:
        who = identity(group)
        if who is not None:
            with self._lock:
                self._running[group] = who
                self._write()
        try:
            yield
        finally:
            with self._lock:
                if self._running.pop(group, None) is not None:
                    self._write()

    def end(self, group: int) -> None:
        """TERM, then KILL."""
        if group_alive(group):
            end_group(group, seconds=_GRACE_SECONDS)

    def end_all(self) -> None:
        self.stopping = True
        with self._lock:
            running = list(self._running)
        for group in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
        for group in running:
            self.end(group)

    def _write(self) -> None:
        temp = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        temp.write_text(json.dumps([[group, who] for group, who in self._running.items()]))
        temp.replace(self._path)


def run_command(
    shell: str, cwd: Path, env: Mapping[str, str], log: Path, timeout_seconds: float, groups: Groups
) -> Ended:
    """A shell line to its end, in a session of its own; what it leaves behind in its group ends with it."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            ["/bin/sh", "-c", shell],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with groups.entered(process.pid), deadline(process.pid, timeout_seconds, groups) as timed_out:
        code = process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    return Ended(code if code >= 0 else 128 - code, bool(timed_out))


@contextmanager
def deadline(group: int, seconds: float, groups: Groups) -> Iterator[list[bool]]:
    """Ends a group that takes longer; the list is not empty then."""
    timed_out: list[bool] = []

    def end() -> None:
        timed_out.append(True)
        groups.end(group)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield timed_out
    finally:
        timer.cancel()


class Worker:
    """The process that forks for function steps (`conveyor.sdk.worker`), in the project's Python. Started when used."""

    def __init__(self, python: Path, root: Path, log: Path) -> None:
        self._python = python
        self._root = root
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[str, SimpleQueue[dict[str, Any]]] = {}

    def run(self, id_: str, request: Mapping[str, Any], timeout_seconds: float) -> Ended:
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self._lock:
            self._waiting[id_] = answers
            self._started()
        self._say({"id": id_, **request})
        begun = answers.get()
        if "pid" not in begun:
            raise self._gone()
        # Its parent ends it when this process ends, so no record of it is needed; only a deadline.
        timed_out = False
        try:
            ended = answers.get(timeout=timeout_seconds)
        except Empty:
            timed_out = True
            ended = self._end(id_, answers)
        self._waiting.pop(id_, None)
        if "code" not in ended:
            raise self._gone()
        return Ended(ended["code"], timed_out)

    def _end(self, id_: str, answers: SimpleQueue[dict[str, Any]]) -> dict[str, Any]:
        """TERM, then KILL: by the worker, which knows whether that process still does this step."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._say({"id": id_, "signal": number})
            with contextlib.suppress(Empty):
                return answers.get(timeout=_GRACE_SECONDS)
        return answers.get()

    def _say(self, what: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            with self._log.open("wb") as sink:
                self._process = subprocess.Popen(
                    [str(self._python), "-m", "conveyor.sdk.worker"],
                    cwd=self._root,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=sink,
                    start_new_session=True,  # Ctrl-C is for this process, which then ends it
                )
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            self._waiting[answer["id"]].put(answer)
        for waiting in list(self._waiting.values()):
            waiting.put({})

    def _gone(self) -> Unavailable:
        said = self._log.read_text(errors="replace").strip().splitlines()
        why = f": {said[-1]}" if said else ""
        return Unavailable(
            f"the worker of function steps ended{why}",
            hint=f"{self._python} must have conveyor installed; activate the project's environment.",
        )
