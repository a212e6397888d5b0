"""What every step of a working folder last came to: a log that is appended to, one durable line a step."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from conveyor.domain.plan import Past


class History:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._past: dict[str, Past] = {}
        self._lines = 0
        for line in _lines(path):
            try:
                name, key, facts, outputs = json.loads(line)
            except ValueError:
                continue  # the last line of a crash
            self._past[name] = Past(key, facts, outputs)
            self._lines += 1
        self._file = path.open("ab")

    def get(self, step: str) -> Past | None:
        return self._past.get(step)

    def put(self, step: str, past: Past) -> None:
        """On disk when this returns."""
        line = json.dumps([step, past.key, past.facts, past.outputs]).encode() + b"\n"
        with self._lock:
            self._past[step] = past
            self._lines += 1
            self._file.write(line)
            self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Writes it anew where most of it is old."""
        self._file.close()
        if self._lines < 100 + 4 * len(self._past):
            return
        temp = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with temp.open("wb") as file:
            for step, past in self._past.items():
                file.write(json.dumps([step, past.key, past.facts, past.outputs]).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temp.replace(self._path)


def _lines(path: Path) -> list[bytes]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    if raw and not raw.endswith(b"\n"):
        raw = raw[: raw.rfind(b"\n") + 1]
        path.write_bytes(raw)
    return raw.splitlines()
