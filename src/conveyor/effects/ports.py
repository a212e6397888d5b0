"""Free ports on this host, handed out so that two callers never get the same one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
import time
from pathlib import Path

HELD_SECONDS = 30.0


def free_port(address: str = "127.0.0.1", *, avoid: frozenset[int] = frozenset()) -> int:
    """A port that nothing listens on, and that no other call on this host got in the last 30 seconds.

    The kernel alone gives no such promise: between finding a port and the new process binding it, it may be handed
    out again. The reservations are a small file per user, under a lock.
    """
    registry = Path(tempfile.gettempdir()) / f"conveyor-ports-{os.getuid()}"
    handle = os.open(registry, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        now = time.time()
        reserved = {port: until for port, until in _read(handle).items() if now < until <= now + HELD_SECONDS}
        port = _probe(address, avoid | reserved.keys())
        reserved[port] = now + HELD_SECONDS
        _write(handle, reserved)
        return port
    finally:
        os.close(handle)


def listening(port: int, address: str = "127.0.0.1") -> bool:
    """Does anything accept connections there now?"""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0


def _probe(address: str, taken: frozenset[int]) -> int:
    refused: list[socket.socket] = []
    try:
        while True:
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            refused.append(probe)
            probe.bind((address, 0))
            port = int(probe.getsockname()[1])
            if port not in taken:
                return port
    finally:
        for probe in refused:
            probe.close()


def _read(handle: int) -> dict[int, float]:
    raw = os.pread(handle, 1 << 20, 0).decode(errors="replace")
    reserved = {}
    for line in raw.splitlines():
        port, _, until = line.partition(" ")
        with contextlib.suppress(ValueError):
            reserved[int(port)] = float(until)
    return reserved


def _write(handle: int, reserved: dict[int, float]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, "".join(f"{port} {until}\n" for port, until in reserved.items()).encode(), 0)
