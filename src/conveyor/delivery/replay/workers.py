"""Processes in the project's environment that train and judge (`conveyor.sdk.replay`), as many as may work at once."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from conveyor.domain import wire
from conveyor.errors import StepFailed, Unavailable

_GRACE_SECONDS = 5.0


class Workers:
    """`ask` may be called from several threads; each has a process to itself until it is answered."""

    def __init__(self, python: Path, root: Path, log: Path, env: Mapping[str, str], count: int) -> None:
        self._python, self._root, self._log, self._env = python, root, log, dict(env)
        self._free: SimpleQueue[subprocess.Popen[str] | None] = SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []
        self._closed = False
        log.write_bytes(b"")
        for _ in range(count):
            self._free.put(None)  # started when it is first needed

    def ask(self, what: str, spec: Any, out: Path) -> float:
        """Seconds that it took. Raises StepFailed where the project's code failed or the data would not do."""
        worker = self._free.get()
        try:
            if worker is None and not self._closed:
                worker = self._start()
            answer = self._exchange(worker, {"what": what, "spec": wire.to_builtins(spec), "out": str(out)})
        finally:
            self._free.put(worker if worker is not None and worker.poll() is None else None)
        if "error" in answer:
            raise StepFailed(answer["error"], hint=answer["hint"] or f"The log: {self._log}")
        return float(answer["seconds"])

    def close(self) -> None:
        """Ends them, also in the midst of a training."""
        self._closed = True
        for worker in self._all:
            worker.terminate()
        for worker in self._all:
            try:
                worker.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _start(self) -> subprocess.Popen[str]:
        with self._log.open("ab") as sink:
            worker = subprocess.Popen(
                [str(self._python), "-m", "conveyor.sdk.replay"],
                cwd=self._root,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                start_new_session=True,  # Ctrl-C is for this process, which then ends them
            )
        self._all.append(worker)
        return worker

    def _exchange(self, worker: subprocess.Popen[str] | None, request: dict[str, Any]) -> dict[str, Any]:
        line = ""
        if worker is not None:
            assert worker.stdin is not None
            assert worker.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(json.dumps(request) + "\n")
                worker.stdin.flush()
            line = worker.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        said = self._log.read_text(errors="replace").strip().splitlines()
        raise Unavailable(
            f"the process that trains ended{': ' + said[-1] if said else ''}",
            hint=f"Look into {self._log}; {self._python} must have conveyor and the project's requirements.",
        )
