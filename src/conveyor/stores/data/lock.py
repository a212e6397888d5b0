"""Locks that wait, and say for whom: one writer a dataset; readers never take one.

They keep two writers from doing the same work twice. That nothing is lost without them is the business of
`Versions.create`, which holds on every backend and between machines.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY = 0.05  # seconds


@contextmanager
def held(path: Path, waits: Callable[[str], None] = lambda who: None, *, shared: bool = False) -> Iterator[None]:
    """The lock of this file; ends with the process whatever ends it. `waits` is told once for whom it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        told = False
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waits(holder(path))
                    told = True
                time.sleep(_EVERY)
        if not shared:
            os.ftruncate(handle, 0)
            os.pwrite(handle, _me(), 0)
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds it, for people: the process, its host, what it was called with, and for how long."""
    try:
        who = json.loads(path.read_bytes())
        seconds = max(0, int(time.time() - who["since"]))
        return f"process {who['pid']} on {who['host']} ({who['command']}), for {seconds} s"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _me() -> bytes:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    who = {"pid": os.getpid(), "host": os.uname().nodename, "command": command, "since": time.time()}
    return json.dumps(who).encode()
