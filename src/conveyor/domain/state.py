"""Small records that the control plane keeps beside runs, versions and releases."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.plan import Past


@dataclass(frozen=True, slots=True)
class StepPasts:
    """Of every step of a project its last success at the control plane: that is why it runs, or need not."""

    project: str
    steps: dict[str, Past] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A project known to this control plane; `heads` are the commits that were already acted upon, by branch."""

    name: str
    created: datetime
    heads: dict[str, str] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)  # how many bytes of each branch's log were acted upon
    trunk: str = ""  # the branch that reaches production: it alone says which environments, data and models there are
    definition: str = ""  # digest of the trunk's newest build that passed


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was taken over for a dataset: its bytes are an object, so the file itself may go."""

    id: str
    project: str
    name: str  # of the dataset
    file: str
    digest: str
    created: datetime
    state: str = "waiting"  # waiting | ingesting | taken | refused
    run: str = ""
    note: str = ""
    together: int = 0  # with how many others it may be ingested at most; 0: with any number
    origin: str = ""  # the entry of the quarantine that its rows were released from
    force: bool = False  # taken as they are: somebody lifted the contract for them
    erased: str = ""  # the erasure that took its original bytes away

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True)
class Act:
    """What was done with rows of the quarantine, by whom and why. `numbers` where it was some of an entry's rows."""

    what: str  # released | dropped | erased
    rows: int
    reasons: dict[str, int]
    at: datetime
    by: str
    why: str = ""
    digest: str = ""  # of the object that held the rows
    arrival: str = ""  # what they were released as
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Rows of a file that failed the contract, kept as a Parquet object with number, rule and reason per row.

    `rows`, `reasons` and `digest` are of what is still held; what left it is in `acts`.
    """

    id: str
    dataset: str
    file: str
    rows: int
    reasons: dict[str, int]
    digest: str
    version: int
    created: datetime
    state: str = "held"  # held | released | dropped | erased: what became of its last rows
    acts: tuple[Act, ...] = ()

    @property
    def name(self) -> str:
        """A short name, by which people call it."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name for a version of a model."""

    id: str  # project/model:alias
    model: str  # project/model
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One entry of an alias's history; no `version`: it was removed."""

    id: str
    model: str
    name: str
    version: int | None
    previous: int | None
    reason: str
    moved: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class DataTag:
    """A movable name for a version of a dataset."""

    id: str  # project/dataset@tag
    dataset: str  # project/dataset
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class DataTagMove:
    """One entry of a tag's history; no `version`: it was removed."""

    id: str
    dataset: str
    name: str
    version: int | None
    previous: int | None
    reason: str
    moved: datetime


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of one version of a target, named by its content, so that equal content is never started twice."""

    id: str  # cluster + replica
    target: str  # environment id + target
    cluster: str
    replica: int
    port: int
    created: datetime
    socket: str = ""  # where the proxy reaches it; empty: by its port


@dataclass(frozen=True, slots=True)
class CachedStep:
    """The outputs of a step whose code, inputs, params and environment had this key."""

    key: str
    outputs: dict[str, str]
    run: str


@dataclass(frozen=True, slots=True)
class PredictionPart:
    """A Parquet object of scored rows that waits to become part of the dataset `predictions/<model>`."""

    id: str
    model: str  # project/model
    digest: str
    rows: int
    first: datetime | None
    last: datetime | None
    state: str = "open"
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a controller has come, persisted with what it did, so that nothing is taken twice or left out."""

    id: str
    seq: int = 0  # position in the event log
    names: tuple[str, ...] = ()  # the files of the last batch, in case they were not deleted before a crash
    until: datetime | None = None
