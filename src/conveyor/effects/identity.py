"""Is this pid still the process that we meant? A pid alone is reused; pid + start time + boot is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def identity(pid: int) -> str | None:
    """A string that no other process ever has; None when there is no such process (a zombie counts as none)."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    found = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def owner() -> str:
    """A name for this process that tells, on this machine, whether it still lives: see `gone`."""
    return f"{_machine()}/{os.getpid()}/{identity(os.getpid())}"


def gone(name: str) -> bool:
    """Whether the process that called itself so by `owner` has ended; False also where that cannot be known."""
    machine, _, rest = name.partition("/")
    pid, _, known = rest.partition("/")
    return machine == _machine() and pid.isdigit() and identity(int(pid)) != known


def _machine() -> str:
    """Two processes with an equal one see the same pids: the host, and its pid namespace (a container has its own)."""
    try:
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        space = ""
    return f"{os.uname().nodename}{space.removeprefix('pid:')}"


def environment(pid: int) -> frozenset[str] | None:
    """`KEY=value` pairs that the process was started with; None when it is gone or not ours to read."""
    if sys.platform == "linux":
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return None
        alive = identity(pid) is not None
        return frozenset(raw.decode(errors="replace").split("\0")) if alive else None
    found = subprocess.run(["ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return frozenset(found.stdout.split()) if found.returncode == 0 else None


def group_alive(pgid: int) -> bool:
    """True while any process of the group runs; zombies that nobody reaped do not count on Linux."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return sys.platform != "linux" or any(_group_of(entry) == pgid for entry in Path("/proc").glob("[0-9]*"))


def end_group(pgid: int, *, seconds: float) -> None:
    """TERM, then KILL after `seconds`; returns when the group is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pgid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while group_alive(pgid):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pgid, signal.SIGKILL)
        time.sleep(0.01)


def _group_of(entry: Path) -> int | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[2])
