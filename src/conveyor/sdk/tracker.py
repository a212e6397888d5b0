"""What a training logs, written to a file of its step: by lines, in batches, by a thread of its own.

Logging costs the training an append to a list. A disk that is full ends the logging and not the training. The control
plane reads the file as it grows, and whole when the step has ended.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections import deque
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from conveyor.errors import InputRejected

log = logging.getLogger(__name__)
FILE = "track.jsonl"
FOLDER = "artifacts"
_EVERY = 0.5  # seconds between writes
_SYSTEM = 5.0  # seconds between looks at the process
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Tracker:
    """Lines of {"metric", "value", "step", "time"} and {"param", "value"}; `time` in milliseconds."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lines: deque[dict[str, Any]] = deque()
        self._stop = threading.Event()
        self._usage = (time.monotonic(), _cpu())
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
        self._thread.start()

    def metric(self, name: str, value: float, step: int) -> None:
        text = value if value == value and abs(value) != float("inf") else str(value)
        self._lines.append({"metric": name, "value": text, "step": step, "time": int(time.time() * 1000)})

    def param(self, name: str, value: str) -> None:
        self._lines.append({"param": name, "value": value})

    def place(self, name: str) -> Path:
        """Where a file of this name goes. Refused: a name that leads out of the folder."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or any(part in ("..", ".") for part in parts):
            raise InputRejected(f"{name!r} cannot name an artifact", hint="Use a relative path without `..`.")
        path = self._out / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Writes what is left."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        try:
            while not self._stop.wait(_EVERY):
                if time.monotonic() - last >= _SYSTEM:
                    last = time.monotonic()
                    self._system()
                self._write()
            self._system()
            self._write()
        except OSError as error:
            log.warning("what this run logs is not kept any more: %s", error)

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            with (self._out / FILE).open("ab") as file:
                file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def _system(self) -> None:
        """Of this process: the CPU since the last look, in percent of one core, and the memory."""
        now, used = time.monotonic(), _cpu()
        before, used_before = self._usage
        self._usage = (now, used)
        step = int(now)
        self.metric("system/cpu_percent", 100 * (used - used_before) / max(now - before, 1e-3), step)
        self.metric("system/memory_mb", _memory(), step)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _memory() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20
    except OSError:  # not Linux: the most that it ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
