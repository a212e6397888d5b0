"""What an erasure would change, found out and made ready; nothing is changed before it is committed.

A part with rows of the subject is written anew without them, and every manifest that names it; the rest is shared.
Original files are found by the parts and the quarantine that came from them; only files that were refused, and those
whose quarantined rows are gone, are read themselves.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from conveyor.delivery.lookup import manifest_of
from conveyor.delivery.profiles import Profiles
from conveyor.delivery.quarantine import reasons_of
from conveyor.domain.dataset import DatasetVersion, Manifest, Part, utc
from conveyor.domain.erasure import Erasure
from conveyor.domain.project import DataConfig
from conveyor.domain.references import of_part, words
from conveyor.domain.state import Act, Arrival, Quarantined
from conveyor.domain.step import IngestFile
from conveyor.errors import ConveyorError, InputRejected
from conveyor.sdk import conform, erased, reading
from conveyor.sdk.parts import ends
from conveyor.sdk.schema import parse_type
from conveyor.stores import manifests as stored
from conveyor.stores.collections import ARRIVALS, DATASET_VERSIONS, ERASURES, QUARANTINE, QUARANTINE_PAST
from conveyor.stores.objects import Objects
from conveyor.stores.records import Collection, Transaction

_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose rows: those whose `column` has this text, see `sdk.erased.text_of`."""

    column: str
    text: str

    def match(self, schema: pl.Schema) -> pl.Expr | None:
        """None where there is no such column."""
        if self.column not in schema or schema[self.column].is_nested():
            return None
        place = pl.nth(schema.names().index(self.column))  # by place: a name may read as a pattern
        return (erased.text_of(place, schema[self.column]) == self.text).fill_null(False)


@dataclass(frozen=True, slots=True)
class Found:
    """All that the records know of a dataset; a plan holds only as long as this stays."""

    versions: tuple[DatasetVersion, ...]
    held: tuple[Quarantined, ...]
    past: tuple[Quarantined, ...]
    arrivals: tuple[Arrival, ...]
    erasures: tuple[Erasure, ...]


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows of the subject in one object, and the event times of those with a label."""

    rows: int
    times: tuple[datetime | None, ...] = ()


@dataclass(slots=True)
class Plan:
    """`versions`, `entries` and `arrivals` as they will be; `objects` are the digests of what held the rows."""

    versions: list[DatasetVersion] = field(default_factory=list)
    entries: list[Quarantined] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    objects: dict[str, None] = field(default_factory=dict)
    hits: dict[int, list[Hits]] = field(default_factory=dict)  # by version
    quarantined: int = 0
    unread: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.versions or self.entries or self.arrivals)

    @property
    def rows(self) -> int:
        """Of the newest version that has some."""
        return sum(each.rows for each in self.hits[max(self.hits)]) if self.hits else 0


def look(tx: Transaction, dataset: str) -> Found:
    def every(kept: Collection[Any]) -> tuple[Any, ...]:
        return tuple(tx.find(kept, where={"dataset": dataset}, limit=_ALL, newest=False))

    return Found(every(DATASET_VERSIONS), every(QUARANTINE), every(QUARANTINE_PAST), every(ARRIVALS), every(ERASURES))


def subject_of(newest: DatasetVersion | None, column: str, value: str) -> Subject:
    """The value as the column's type has it. Raises InputRejected where it is none of that type."""
    if newest is None:
        return Subject(column, value)
    if column not in newest.schema:
        raise InputRejected(
            f"{newest.name} has no column {column}", hint=f"Its columns are {', '.join(newest.schema)}."
        )
    dtype = parse_type(newest.schema[column])
    if dtype.is_nested():
        raise InputRejected(f"column {column} is {dtype}: it names no subject", hint="Give a column of plain values.")
    given = pl.Series("value", [value])
    cast = given if isinstance(dtype, pl.String) else conform.parsed(given, dtype)
    if cast is None or cast.has_nulls():
        raise InputRejected(f"{value!r} is no {dtype}, which column {column} is", hint="Write COLUMN=VALUE.")
    return Subject(column, str(cast.to_frame().select(erased.text_of(pl.col("value"), dtype)).item()))


class Planner:
    """`keep` stores bytes and says their digest; a dry run's keeps none."""

    def __init__(
        self, objects: Objects, data: DataConfig, subject: Subject, id_: str, act: Act, keep: Callable[[bytes], str]
    ) -> None:
        self._objects = objects
        self._data = data
        self._subject = subject
        self._id = id_
        self._act = act
        self._keep = keep
        self._profiles = Profiles(objects)
        self._hits: dict[str, Hits] = {}
        self._parts: dict[str, Part | None] = {}

    def plan(self, found: Found) -> Plan:
        plan = Plan()
        manifests = {version.version: manifest_of(self._objects, version) for version in found.versions}
        sources: set[str] = set()
        for version in sorted(found.versions, key=lambda version: version.version):
            self._version(plan, version, manifests, sources)
        files = {arrival.id: arrival for arrival in found.arrivals}
        origins: set[str] = set()  # arrivals whose original must hold the subject's rows
        doubtful: set[str] = {arrival.id for arrival in found.arrivals if arrival.state == "refused"}
        for entry in (*found.held, *found.past):
            self._entry(plan, entry, origins, doubtful)
        for arrival in found.arrivals:
            if arrival.digest in sources or arrival.id in origins:
                origins |= {arrival.id, *_before(arrival)}
        for id_ in doubtful - origins:
            if id_ in files and not files[id_].erased and self._original(plan, files[id_]):
                origins.add(id_)
        for arrival in found.arrivals:
            if arrival.id in origins and not arrival.erased and arrival.state in ("taken", "refused"):
                note = f"{arrival.note}; its original bytes were erased".removeprefix("; ")
                plan.arrivals.append(replace(arrival, erased=self._id, note=note))
                plan.objects[arrival.digest] = None
        return plan

    def _version(self, plan: Plan, version: DatasetVersion, manifests: dict[int, Manifest], sources: set[str]) -> None:
        manifest = manifests[version.version]
        hits = {part.digest: found for part in manifest.parts if (found := self._look(part.digest)).rows}
        if not hits:
            return
        plan.hits[version.version] = list(hits.values())
        kept = [self._without(part) if part.digest in hits else part for part in manifest.parts]
        after = replace(manifest, parts=tuple(part for part in kept if part is not None))
        plan.versions.append(
            replace(
                version,
                manifest=stored.write(after, self._keep),
                rows=after.rows,
                bytes=after.bytes,
                first=after.first,
                last=after.last,
                profile=self._profiles.of(after, always=version.version == max(manifests)),
                erased=(*version.erased, self._id),
            )
        )
        pages = (digest for digest, _ in stored.walk(self._objects, version.manifest, set()))
        plan.objects |= dict.fromkeys((*words(version), *pages))
        for part in manifest.parts:
            plan.objects |= dict.fromkeys(of_part(part)) if part.digest in hits else {}
        sources |= {part.source_digest for part in manifest.parts if part.digest in hits and part.source_digest}

    def _look(self, digest: str) -> Hits:
        if digest not in self._hits:
            frame = pl.scan_parquet(self._objects.path(digest), glob=False)
            schema = frame.collect_schema()
            match = self._subject.match(schema)
            self._hits[digest] = Hits(0) if match is None else self._count(frame, schema, match)
        return self._hits[digest]

    def _count(self, frame: pl.LazyFrame, schema: pl.Schema, match: pl.Expr) -> Hits:
        label = self._data.label.column if self._data.label else ""
        labelled = pl.col(label).is_not_null() if label in schema else pl.lit(True)
        at = self._data.time or ""
        time = pl.col(at) if at in schema else pl.lit(None, pl.Datetime("us"))
        found = frame.filter(match).select(time.alias("time"), labelled.alias("labelled")).collect()
        return Hits(found.height, tuple(_moment(at) for at in found.filter("labelled")["time"].to_list()))

    def _without(self, part: Part) -> Part | None:
        """The part without the subject's rows; None if it has no others."""
        if part.digest not in self._parts:
            table = pl.read_parquet(self._objects.path(part.digest), glob=False)
            match = self._subject.match(table.schema)
            assert match is not None
            rest = table.filter(~match)
            self._parts[part.digest] = self._part(part, rest) if rest.height else None
        return self._parts[part.digest]

    def _part(self, part: Part, rest: pl.DataFrame) -> Part:
        raw = _parquet(rest)
        first, last = part.first, part.last
        if self._data.time in rest.columns:
            first, last = ends(rest.sort(self._data.time), self._data.time)
        return replace(
            part, digest=self._keep(raw), rows=rest.height, bytes=len(raw), first=first, last=last, sketches=""
        )

    def _entry(self, plan: Plan, entry: Quarantined, origins: set[str], doubtful: set[str]) -> None:
        """Rows that are held, and the objects of those that were released or dropped, as far as they are there."""
        arrival = entry.id.rpartition("/")[0]
        for act in entry.acts:
            if act.digest and not self._objects.has(act.digest):
                doubtful.add(arrival)
            elif act.digest and self._look(act.digest).rows:
                plan.objects[act.digest] = None
                origins.add(arrival)
        if entry.state != "held" or not self._look(entry.digest).rows:
            return
        table = pl.read_parquet(self._objects.path(entry.digest), glob=False)
        match = self._subject.match(table.schema)
        assert match is not None
        gone, rest = table.filter(match), table.filter(~match)
        origins.add(arrival)
        plan.objects[entry.digest] = None
        plan.quarantined += gone.height
        act = replace(self._act, rows=gone.height, reasons=reasons_of(gone))
        plan.entries.append(
            replace(
                entry,
                rows=rest.height,
                reasons=reasons_of(rest),
                digest=self._keep(_parquet(rest)) if rest.height else "",
                state="held" if rest.height else "erased",
                acts=(*entry.acts, act),
            )
        )

    def _original(self, plan: Plan, arrival: Arrival) -> bool:
        """Whether a file as it came holds the subject; one that cannot be read is named."""
        try:
            table = reading.read(IngestFile(str(self._objects.path(arrival.digest)), arrival.file))
        except ConveyorError:
            plan.unread.append(arrival.file)
            return False
        match = self._subject.match(table.schema)
        return match is not None and table.filter(match).height > 0


def _before(arrival: Arrival) -> Iterator[str]:
    """The arrival whose quarantined rows this one is made of."""
    if arrival.origin:
        yield arrival.origin.rpartition("/")[0]


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return utc(value)
    return None if value is None else utc(datetime(value.year, value.month, value.day))


def counted(hits: Sequence[Hits], after: datetime, until: datetime) -> int:
    """Labelled rows in (after, until]."""
    return sum(1 for each in hits for at in each.times if at is not None and utc(after) < at <= utc(until))
