"""What the API answers where no single record says it: joined views, the same for CLI, pages and clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from conveyor.domain.dataset import DatasetVersion, Manifest
from conveyor.domain.freshness import Stale
from conveyor.domain.model import ModelVersion
from conveyor.domain.references import ObjectSum
from conveyor.domain.release import Proposal, Release
from conveyor.domain.retention import Verdict
from conveyor.domain.rollout import Rollout
from conveyor.domain.run import Run
from conveyor.domain.state import Alias, Quarantined


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    project: str
    name: str
    live: Release | None
    rollout: Rollout | None
    waiting: str
    rejected: dict[str, str]
    address: str = ""
    source: str = ""  # what is live there is promoted to here
    proposal: Proposal | None = None
    branch: str = ""  # what it takes pushes from, or the preview is of
    expires: datetime | None = None
    note: str = ""  # that it is being taken down, or that nothing declares it any more


@dataclass(frozen=True, slots=True)
class ProcessView:
    name: str
    state: str
    pid: int | None
    started: datetime | None


@dataclass(frozen=True, slots=True)
class DatasetView:
    project: str
    name: str
    newest: DatasetVersion | None
    waiting: int
    refused: int
    quarantined_files: int
    stale: Stale | None = None


@dataclass(frozen=True, slots=True)
class TableView:
    """A version of a table, and all that is needed to read it: its parts, and the URL of the store that holds them."""

    version: DatasetVersion
    manifest: Manifest
    objects: str  # a folder of the server's, or s3://bucket/prefix and the like
    time: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()  # those that point to this version


@dataclass(frozen=True, slots=True)
class ModelView:
    project: str
    name: str
    newest: ModelVersion | None
    live: ModelVersion | None
    decision: str  # the governor's last, with its reason
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusView:
    version: str
    api_url: str
    public_url: str
    started: datetime
    reconciling: bool
    environments: tuple[EnvironmentView, ...] = ()
    datasets: tuple[DatasetView, ...] = ()
    models: tuple[ModelView, ...] = ()
    runs: tuple[Run, ...] = ()  # those open
    processes: tuple[ProcessView, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of a step's log from an offset on; `done` once the run has ended and nothing follows."""

    step: str
    text: str
    next_offset: int
    done: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an uploaded file: taken over, or known already."""

    file: str
    digest: str
    duplicate_of: str = ""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """`number` counts from 0 in the file; `values` are numbers, text, true or false, or null."""

    number: int
    rule: str
    reason: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QuarantinedRows:
    """`columns` in the order of the file."""

    entry: Quarantined
    rows: tuple[QuarantinedRow, ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection deleted, or with `dry_run` would delete, and what it keeps: each with its reason."""

    dry_run: bool
    deleted: int
    deleted_bytes: int
    kept: int
    kept_bytes: int
    verdicts: tuple[Verdict, ...]  # what goes first, the largest first
    objects: tuple[ObjectSum, ...] = ()  # of the object store, in sums: there are many


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """A receiver of notifications; `attempts` is how often the first that waits was not taken."""

    name: str
    kind: str
    on: tuple[str, ...]
    waiting: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Message:
    """What will happen; `run` is the run that it depends on, if any."""

    message: str
    run: str = ""
