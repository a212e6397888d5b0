"""What a process and all that it started use: memory, and the ports on which they listen."""

from __future__ import annotations

from collections.abc import Iterator

import psutil


def resident_mb(pid: int) -> int:
    """Resident memory of the process and its descendants in megabytes; 0 when it is gone."""
    return sum(_resident(process) for process in _family(pid)) >> 20


def listening(pid: int) -> tuple[int, ...]:
    """The TCP ports on which the process or a descendant listens, in order."""
    return tuple(sorted({port for process in _family(pid) for port in _ports(process)}))


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _ports(process: psutil.Process) -> Iterator[int]:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN:
            yield connection.laddr.port
