"""What is known of an environment: the present schema of each database, and the builds seen working on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from conveyor.domain.migration import databases
from conveyor.domain.release import Build

_FINGERPRINTS, _BUILDS, _CHANGES, _SPARE = 20, 50, 50, 5  # how much a schema's record remembers


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A release changed the schema; `backup` is the database as it was before."""

    release: int
    before: str
    after: str
    backup: str
    taken: datetime


@dataclass(frozen=True, slots=True)
class Schema:
    """The present schema of one database of an environment, and which builds were seen working on which schema."""

    environment: str  # id
    key: str  # of the database
    fingerprint: str
    proven: dict[str, tuple[str, ...]] = field(default_factory=dict)  # fingerprint -> build digests
    changes: tuple[SchemaChange, ...] = ()  # oldest first, those of the present schema's own past
    spare: tuple[str, ...] = ()  # backups that were taken before a restore

    @property
    def id(self) -> str:
        return f"{self.environment}/{self.key}"

    def serves(self, build: str) -> bool:
        return build in self.proven.get(self.fingerprint, ())

    def prove(self, builds: tuple[str, ...]) -> Schema:
        known = self.proven.get(self.fingerprint, ())
        added = (*(build for build in known if build not in builds), *builds)[-_BUILDS:]
        others = {name: seen for name, seen in self.proven.items() if name != self.fingerprint}
        kept = dict(list(others.items())[-(_FINGERPRINTS - 1) :])
        return replace(self, proven={**kept, self.fingerprint: added})

    def migrate(self, change: SchemaChange, builds: tuple[str, ...]) -> Schema:
        """After a release's migration. One that left the schema as it was needs no way back, unless it has a backup."""
        changes = (*self.changes, change)[-_CHANGES:] if change.backup else self.changes
        return replace(self, fingerprint=change.after, changes=changes).prove(builds)

    def way_back(self, release: int, build: str) -> SchemaChange | None:
        """The change whose backup the release's build works on; of several the newest, which loses the least."""
        after = [change for change in self.changes if change.release > release]
        fit = [change for change in after if build in self.proven.get(change.before, ())]
        return fit[-1] if fit else next(iter(after), None)

    def restore(self, change: SchemaChange, fingerprint: str, spare: str, builds: tuple[str, ...]) -> Schema:
        """As before a change; what came after it never happened to this database."""
        place = self.changes.index(change) if change in self.changes else len(self.changes)
        spares = (*self.spare, spare)[-_SPARE:] if spare else self.spare
        back = replace(self, fingerprint=fingerprint, changes=self.changes[:place], spare=spares)
        return back.prove(builds)


def unproven(schemas: tuple[Schema, ...], build: Build) -> tuple[str, ...]:
    """The keys of a build's databases on whose present schema it was never seen working."""
    known = {schema.key: schema for schema in schemas}
    keys = [database.key for database in databases(build.config)]
    return tuple(key for key in keys if key in known and not known[key].serves(build.digest))


def to_migrate(schemas: tuple[Schema, ...], build: Build) -> bool:
    """A build that was proven on the present schema has nothing left to migrate."""
    known = {schema.key: schema for schema in schemas}
    wanted = [database for database in databases(build.config) if database.migrating]
    return any(database.key not in known or not known[database.key].serves(build.digest) for database in wanted)
