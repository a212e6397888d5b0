"""Migrations: which databases a release has, what is done to them in which order, and whom a schema serves. Pure.

    copy ─► lint ─► rehearse ─► old (live code on the new schema) ─► new ─► backup ─► migrate (the real one)

Everything before `backup` happens on a copy. A step of a run is named `<verb>:<service>`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from conveyor.domain.project import ProjectConfig, ServiceConfig
from conveyor.domain.run import Step

_SHORT = timedelta(minutes=10)


class Verb(StrEnum):
    COPY = "copy"
    LINT = "lint"
    REHEARSE = "rehearse"
    OLD = "old"
    NEW = "new"
    BACKUP = "backup"
    MIGRATE = "migrate"
    RESTORE = "restore"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Database:
    """Services that name the same variable, and give it the same value if any, share one database."""

    name: str  # of the first service that has it: what the steps are named by
    variable: str
    given: str  # the URL in conveyor.toml; empty: a secret, or a database that Conveyor made
    services: tuple[str, ...]
    migrating: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.variable}-{hashlib.sha256(self.given.encode()).hexdigest()[:8]}" if self.given else self.variable


def databases(config: ProjectConfig) -> tuple[Database, ...]:
    found: dict[tuple[str, str], Database] = {}
    for service in config.services.values():
        if service.database is None:
            continue
        key = (service.database, service.env.get(service.database, ""))
        base = found.get(key) or Database(service.name, *key, (), ())
        migrating = (*base.migrating, service.name) if service.migrate else base.migrating
        found[key] = replace(base, services=(*base.services, service.name), migrating=migrating)
    return tuple(found.values())


def steps(config: ProjectConfig, live: ProjectConfig | None) -> tuple[Step, ...]:
    """All steps that take a release's databases to its schema, in the order of their needs."""
    migrated = [database for database in databases(config) if database.migrating]
    before: list[Step] = []
    backups: list[Step] = []
    for database in migrated:
        trials = _trials(database, config, live)
        before += trials
        backups.append(Step(f"{Verb.BACKUP}:{database.name}", timeout=timedelta(hours=1)))
    proven = tuple(step.name for step in before)
    backups = [replace(step, needs=proven) for step in backups]
    last = tuple(step.name for step in backups)
    real: list[Step] = []
    for database in migrated:
        for name in database.migrating:
            real.append(Step(f"{Verb.MIGRATE}:{name}", needs=last, timeout=config.services[name].timeout))
            last = (real[-1].name,)
    return (*before, *backups, *real)


def _trials(database: Database, config: ProjectConfig, live: ProjectConfig | None) -> list[Step]:
    """What happens on the copy, one after the other: smoke tests write, and must not meet each other."""
    made = [Step(f"{Verb.COPY}:{database.name}", timeout=timedelta(hours=1))]

    def then(verb: Verb, service: ServiceConfig) -> None:
        made.append(Step(f"{verb}:{service.name}", needs=(made[-1].name,), timeout=service.timeout))

    for name in database.migrating:
        if config.services[name].migrate_sql:
            then(Verb.LINT, config.services[name])
        then(Verb.REHEARSE, config.services[name])
    for service in sharing(database, live):
        then(Verb.OLD, service)
    for name in database.services:
        then(Verb.NEW, config.services[name])
    return made


def checks(config: ProjectConfig, keys: tuple[str, ...], *, restore: bool = False) -> tuple[Step, ...]:
    """Whether a build works on a copy of these databases as they are; with `restore`, of their backups, then for real.

    Restoring begins when every check has passed.
    """
    made: list[Step] = []
    asked = [database for database in databases(config) if database.key in keys]
    for database in asked:
        made.append(Step(f"{Verb.COPY}:{database.name}", timeout=timedelta(hours=1)))
        for name in database.services:
            made.append(Step(f"{Verb.NEW}:{name}", needs=(made[-1].name,), timeout=config.services[name].timeout))
    for verb in (Verb.BACKUP, Verb.RESTORE) if restore else ():
        needs = tuple(step.name for step in made)
        made += [Step(f"{verb}:{database.name}", needs=needs, timeout=timedelta(hours=1)) for database in asked]
    return tuple(made)


def drops(config: ProjectConfig) -> tuple[Step, ...]:
    """Removes the copies that a run left on a server; those of SQLite go with the run's folder."""
    made = [database for database in databases(config) if not _is_file(database, config)]
    names = [name for database in made for name in (database.name, *database.migrating[1:])]
    return tuple(Step(f"{Verb.DROP}:{name}", timeout=_SHORT, retries=3) for name in dict.fromkeys(names))


def _is_file(database: Database, config: ProjectConfig) -> bool:
    secret = any(database.variable in config.services[name].secrets for name in database.services)
    return database.given.startswith("sqlite") or not (database.given or secret)


def places(config: ProjectConfig, name: str) -> tuple[str, str]:
    """The copy that a service's migration is rehearsed on, and the one that this is begun from where it is not first.

    Each further service of a database begins with a copy of what those before it made: it can be begun again alone.
    """
    database = of_service(config, name)
    if name not in database.migrating[1:]:
        return database.name, ""
    before = database.migrating[database.migrating.index(name) - 1]
    return name, places(config, before)[0]


def of_service(config: ProjectConfig, name: str) -> Database:
    return next(database for database in databases(config) if name in database.services)


def sharing(database: Database, config: ProjectConfig | None) -> tuple[ServiceConfig, ...]:
    """The services of another release that have this database too."""
    if config is None:
        return ()
    there = next((other for other in databases(config) if other.key == database.key), None)
    return tuple(config.services[name] for name in there.services) if there else ()


# --- what a step's process is told


@dataclass(frozen=True, slots=True)
class MigrationSpec:
    """Read by `python -m conveyor.effects.migration SPEC.json OUT`; the URL is the value of `variable` there."""

    verb: Verb
    variable: str
    service: str
    release: int
    place: str  # names the copy; no other run has it
    folder: str  # of the run: copies of SQLite databases, reports for later steps
    told: str = ""  # what a failure means: "release 7 cannot be rolled out"
    where: str = ""  # the schema: "on the new schema"
    who: str = ""  # whose code is checked: "web@1a2b3c4d (live now, release 6)"
    hint: str = ""
    line: str = ""  # the command: a migration, what prints its SQL, or what serves
    health: str = "/"
    smoke: str = ""
    start_seconds: float = 60.0
    lock_seconds: float = 5.0
    source: str = ""  # the place of the copy to begin from, where another service migrated it before
    backup: str = ""  # where to write it, or what to restore; without suffix when writing


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A database as migrations see it: its schema, and where migration tools noted how far they have come."""

    schema: str
    position: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    before: Fingerprint
    after: Fingerprint
    seconds: float
    held: dict[str, float] = field(default_factory=dict)  # table -> seconds for which writers were kept out
    unchanged: bool = False  # not one byte: nothing to back up, nothing to prove


@dataclass(frozen=True, slots=True)
class Backup:
    path: str  # empty: none was needed
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Migrated:
    """What the real migration, or a restore, made of the schema."""

    before: Fingerprint
    after: Fingerprint
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule of the linter that a migration's SQL breaks."""

    rule: str
    line: int
    level: str
    message: str


class Holds:
    """How long each table's writers were kept out, from looks at who holds what."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def look(self, now: float, held: set[str]) -> None:
        self._since = {table: self._since.get(table, now) for table in held}
        for table, since in self._since.items():
            self.longest[table] = max(self.longest.get(table, 0.0), now - since)

    def beyond(self, seconds: float) -> str | None:
        """A table that was held longer."""
        return next((table for table, held in self.longest.items() if held > seconds), None)


class Resume(StrEnum):
    AGAIN = "again"
    DONE = "done"
    REHEARSE = "rehearse"


def resume(before: Fingerprint, expected: Fingerprint, now: Fingerprint) -> Resume:
    """What to do where a real migration was killed: nothing of it happened, all of it, or some.

    Where some of it happened, running it again must first lead to the expected schema on a fresh copy.
    """
    if now == before:
        return Resume.AGAIN
    return Resume.DONE if now == expected else Resume.REHEARSE
