"""Dataset versions: immutable manifests of content-addressed parts, and what an ingest says about its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from conveyor.domain.erasure import ErasedKeys


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; a naive event time is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def known_until(version_last: datetime, delay: timedelta) -> datetime:
    """The event time up to which labels have arrived, when the newest row known has the event time `version_last`.

    A label is known `delay` after its row's event time, so at `version_last` the rows up to `version_last - delay`
    have theirs.
    """
    return utc(version_last) - delay


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet object of a version. `source` names the file it came from, `source_digest` is the BLAKE3 of its
    bytes."""

    digest: str
    rows: int
    bytes: int
    first: datetime | None = None
    last: datetime | None = None
    source: str = ""
    source_digest: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of a version, oldest first."""

    parts: tuple[Part, ...] = ()

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def first(self) -> datetime | None:
        return min((utc(part.first) for part in self.parts if part.first), default=None)

    @property
    def last(self) -> datetime | None:
        return max((utc(part.last) for part in self.parts if part.last), default=None)

    def holds(self, source_digest: str) -> Part | None:
        """The part that came from a file with these bytes, if one did: the same file is not taken twice."""
        return next((part for part in self.parts if part.source_digest == source_digest), None)

    def within(self, since: datetime | None, until: datetime | None) -> Manifest:
        """Only parts that may hold rows with `since <= event time <= until`; one without a time range is kept."""

        def touches(part: Part) -> bool:
            early = since is not None and part.last is not None and utc(part.last) < utc(since)
            late = until is not None and part.first is not None and utc(part.first) > utc(until)
            return not early and not late

        return Manifest(tuple(part for part in self.parts if touches(part)))


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column's statistics. `min` and `max` are numbers, or text for text and times; `mean` is for numbers only."""

    dtype: str
    nulls: int
    distinct: int  # approximate, HyperLogLog
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class DatasetProfile:
    rows: int
    columns: dict[str, ColumnProfile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """The record of a version. `watermark` is the newest event time: what governs which labels are known."""

    project: str
    name: str
    version: int
    parent: int | None
    manifest: str  # BLAKE3 digest of the manifest's JSON
    rows: int
    bytes: int
    schema: dict[str, str]
    created: datetime
    first: datetime | None = None
    last: datetime | None = None
    profile: DatasetProfile | None = None  # of the rows that this version added
    reason: str = ""
    sources: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()  # erasures that took rows out of it

    @property
    def watermark(self) -> datetime | None:
        return self.last

    @property
    def id(self) -> str:
        return f"{self.dataset}@{self.version}"

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """What became of one file. With `error` the whole file was refused and nothing of it was written.

    `output` and `quarantine` are names inside the output folder, None where there are no such rows.
    """

    name: str
    rows: int = 0  # accepted
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # rule -> rows
    first: datetime | None = None
    last: datetime | None = None
    output: str | None = None
    quarantine: str | None = None
    error: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """`schema` is the dataset's after this ingest (unchanged when no file was accepted); `profile` of all accepted."""

    files: tuple[IngestedFile, ...]
    schema: dict[str, str]
    profile: DatasetProfile | None = None
    erased: tuple[ErasedKeys, ...] = ()  # whose rows were held back
