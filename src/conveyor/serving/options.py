"""What a model server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from conveyor.serving.bulk import Limits

MAX_BODY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """With a `socket` it answers there too: the proxy reaches it by less work than through a port. `sync`: no answer
    leaves before its observation is on disk."""

    artifact: Path
    name: str
    version: int
    host: str
    port: int
    observations: Path
    socket: Path | None = None
    grpc_port: int | None = None
    sync: bool = False
    redact: tuple[str, ...] = ()  # features, and "key", that are not logged
    max_body: int = MAX_BODY_BYTES
    trusted: tuple[str, ...] = ()
    signed: dict[str, str] = field(default_factory=dict)  # file -> digest
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker process has of its parent: file descriptors, and its place among the workers."""

    parent: int  # a socket: connections come by it, it takes a byte when the worker is ready, and ends with the parent
    cells: int
    slot: int
    count: int
