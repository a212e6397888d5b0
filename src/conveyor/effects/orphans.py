"""Processes that an earlier supervisord left behind: they carry its mark, and nobody keeps them any more."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from conveyor.effects.identity import environment, identity

_GRACE_SECONDS = 5.0


def orphans(mark: str, supervisor: int | None) -> list[int]:
    """Pids with the mark in their environment that do not descend from `supervisor`. Linux only."""
    if sys.platform != "linux":
        return []
    parents = _parents()
    mine = set(_line(os.getpid(), parents))
    marked = [pid for pid in parents if pid not in mine and mark in (environment(pid) or ()) and not _masks(pid)]
    return [pid for pid in marked if supervisor is None or supervisor not in _line(pid, parents)]


def end(pids: list[int]) -> None:
    """TERM, then KILL; returns when they are gone."""
    deadline = time.monotonic() + _GRACE_SECONDS
    known = {pid: identity(pid) for pid in pids}
    number = signal.SIGTERM
    while alive := [pid for pid, who in known.items() if who is not None and identity(pid) == who]:
        if number == signal.SIGTERM or time.monotonic() > deadline:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            number = signal.SIGKILL
        time.sleep(0.02)


def _masks(pid: int) -> bool:
    """Whether it reads what another process writes (`effects.sealed`): it ends with that one, and not before."""
    try:
        return b"conveyor.effects.sealed" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _line(pid: int, parents: dict[int, int]) -> list[int]:
    """The process and all above it."""
    line = []
    while pid in parents and pid not in line:
        line.append(pid)
        pid = parents[pid]
    return line
