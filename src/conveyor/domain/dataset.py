"""Dataset versions: immutable manifests of content-addressed parts, and what an ingest says about its files."""

from __future__ import annotations

from collections.abc import Mapping
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
    sketches: str = ""  # digest of its own: of large parts whose rows may be replaced (mode "upsert")


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

    def rewritten(self, by: Mapping[str, Part | None]) -> Manifest:
        """With other parts in the place of some, by digest; None for one of which no row is left."""
        found = (by.get(part.digest, part) for part in self.parts)
        return Manifest(tuple(part for part in found if part is not None))


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The probabilities at which a profile tells a column's quantiles."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column's statistics. `min` and `max` are numbers, or text for text and times.

    `mean`, `std` and `quantiles` are for numbers (without NaN and infinities, which `not_finite` counts); quantiles
    also for times, as text. Counts are exact but for `distinct`, which is within some percent above 1,000, and `top`,
    whose counts are lower bounds where a column has many values.
    """

    dtype: str
    nulls: int
    distinct: int
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float | str, ...] = ()  # at QUANTILES, by rank within 1 %
    top: tuple[tuple[str, int], ...] = ()  # the most frequent values, the first one most
    not_finite: int = 0


@dataclass(frozen=True, slots=True)
class DatasetProfile:
    """Statistics of `rows` rows. `sketches` is the digest of the object that they merge from; empty in versions of an
    earlier Conveyor, whose profiles are of the added rows only."""

    rows: int
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    sketches: str = ""


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """The record of a version. `watermark` is the newest event time: what governs which labels are known."""

    project: str
    name: str
    version: int
    parent: int | None
    manifest: str  # BLAKE3 digest of the manifest's JSON; empty for a version of files
    rows: int
    bytes: int
    schema: dict[str, str]
    created: datetime
    first: datetime | None = None
    last: datetime | None = None
    profile: DatasetProfile | None = None  # of the whole version
    reason: str = ""
    sources: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()  # erasures that took rows out of it
    root: str = ""  # of a version of files: digest of the tree's topmost node; `rows` counts files then
    touched: int = 0  # of a version of files: how many were added, changed or deleted since the first version, in all

    @property
    def watermark(self) -> datetime | None:
        """Files have no event time: what is known of them is known when the version is made."""
        return self.created if self.root else self.last

    @property
    def things(self) -> str:
        return "files" if self.root else "rows"

    @property
    def id(self) -> str:
        return f"{self.dataset}@{self.version}"

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.name}"


def objects_of(version: DatasetVersion, manifest: Manifest) -> frozenset[str]:
    """Digests of all objects that a version is made of: what a collection keeps, and what a copy needs."""
    sketches = version.profile.sketches if version.profile else ""
    parts = (digest for part in manifest.parts for digest in (part.digest, part.sketches))
    return frozenset(digest for digest in (version.manifest, sketches, *parts) if digest)


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
    late: int = 0  # of the accepted rows, those older than what was known before
    superseded: int = 0  # good rows whose key a later file of the same ingest brings again (mode "upsert")
    sketches: str | None = None  # name inside the output folder


@dataclass(frozen=True, slots=True)
class RewrittenPart:
    """A part of the version before, some of whose rows have newer ones. Without `output` no row of it is left."""

    digest: str
    replaced: int
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    output: str | None = None
    sketches: str | None = None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """`schema` is the dataset's after this ingest (unchanged when no file was accepted).

    `profile` is of the whole version that comes of it; its `sketches` is the name of a file among the outputs.
    """

    files: tuple[IngestedFile, ...]
    schema: dict[str, str]
    profile: DatasetProfile | None = None
    rewritten: tuple[RewrittenPart, ...] = ()
    sketched: dict[str, str] = field(default_factory=dict)  # parts that got sketches now: digest -> name of the file
    base: str = ""  # digest of the manifest that it was made for
    erased: tuple[ErasedKeys, ...] = ()  # whose rows were held back
