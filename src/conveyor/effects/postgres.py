"""PostgreSQL databases: copied and backed up by the server's own client programs, watched through pg_locks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from conveyor.domain.migration import Fingerprint
from conveyor.effects import postgres_programs
from conveyor.effects.postgres_schema import SCHEMA, SCHEMAS, VERSIONS
from conveyor.effects.psycopg_driver import driver
from conveyor.errors import NoSpace, Unavailable

if TYPE_CHECKING:
    import psycopg

_HINT = "Check the database's URL and that the server runs."
# Modes that conflict with the ROW EXCLUSIVE lock of every writer: https://www.postgresql.org/docs/current/explicit-locking.html
_HELD = """
SELECT DISTINCT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n
ON n.oid = c.relnamespace WHERE l.granted AND l.locktype = 'relation' AND c.relkind IN ('r', 'p')
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
AND n.nspname !~ '^(pg_|information_schema$)'
"""
APPLICATION = "conveyor-migration"


class Postgres:
    kind = "postgresql"

    def __init__(self, url: str, source: Postgres | None = None) -> None:
        self.url = url
        _, _, rest = url.partition("://")
        self._plain = f"postgresql://{rest}"
        self._source = source

    @property
    def name(self) -> str:
        return str(self._parameters().get("dbname") or self._parameters().get("user") or "postgres")

    def beside(self, place: str, folder: Path) -> Postgres:
        return Postgres(self._named(_identifier(f"conveyor_{place}")), self)

    def fill(self, source: Path | None = None) -> None:
        assert self._source is not None
        if source is None:
            self.copy_of(self._source)
        else:
            self._recreate(self._source)
            self._programs(self._source).load(self._parameters(), source)

    def copy_of(self, source: Postgres) -> None:
        self._recreate(source)
        if source.exists():
            self._programs(source).copy(source._parameters(), self._parameters())

    def drop(self) -> None:
        with closing(self._maintenance()) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def ensure(self) -> None:
        if not self.exists():
            with closing(self._maintenance()) as connection:
                connection.execute(f'CREATE DATABASE "{self.name}"')

    def exists(self) -> bool:
        with closing(self._maintenance()) as connection:
            row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self.name,)).fetchone()
            return row is not None

    def backup(self, base: Path) -> Path:
        base.parent.mkdir(parents=True, exist_ok=True)
        needed, free = self.size(), shutil.disk_usage(base.parent).free
        if free < needed + (64 << 20):
            raise NoSpace(
                f"a backup of the database may need {needed >> 20} MB, and {base.parent} has {free >> 20} MB left",
                hint="Free space there; nothing was touched.",
            )
        target = base.with_name(f"{base.name}.dump")
        self._programs(self).save(self._parameters(), target)
        return target

    def restore(self, backup: Path) -> None:
        """In one transaction: everything is dropped and made anew, or nothing is."""
        with closing(self._connect()) as connection:
            names = [str(row[0]) for row in connection.execute(SCHEMAS)]
        self._programs(self).replace(self._parameters(), backup, names)

    def fingerprint(self) -> Fingerprint:
        if not self.exists():
            return Fingerprint(_digest([]), _digest([]))
        with closing(self._connect()) as connection:
            connection.execute("SET search_path TO pg_catalog")  # so that definitions name their schema
            told = [connection.execute(query).fetchall() for query in SCHEMA]
            found = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE tablename = ANY(%s) ORDER BY 1, 2", (list(VERSIONS),)
            )
            noted = [
                (table, sorted(map(repr, connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t').fetchall())))
                for schema, table in found.fetchall()
            ]
        # Empty parts leave no trace: an empty database is as one that is not there.
        return Fingerprint(_digest([sorted(map(repr, rows)) for rows in told if rows]), _digest(noted))

    def content(self) -> str | None:
        return None

    def size(self) -> int:
        if not self.exists():
            return 0
        with closing(self._connect()) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def watching(self) -> Iterator[Callable[[], set[str]]]:
        """Of tables that others can see; one made in a transaction that is still open keeps nobody waiting."""
        with closing(self._connect()) as connection:
            yield lambda: {str(row[0]) for row in connection.execute(_HELD)}

    def limits(self, lock_seconds: float) -> dict[str, str]:
        return {"PGOPTIONS": f"-c lock_timeout={int(lock_seconds * 1000)}", "PGAPPNAME": APPLICATION}

    def silence(self) -> None:
        with closing(self._maintenance()) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = %s AND application_name = %s",
                (self.name, APPLICATION),
            )

    def _recreate(self, like: Postgres) -> None:
        """Empty, with the encoding of the other; without that, its text could not be copied."""
        self.drop()
        with closing(self._maintenance()) as connection:
            row = connection.execute(
                "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider FROM pg_database "
                "WHERE datname = %s",
                (like.name,),
            ).fetchone()
            wanted = ""
            if row is not None:
                wanted = f" ENCODING '{row[0]}'"
                if _text(row[3]) == "c":
                    wanted += f" LC_COLLATE '{row[1]}' LC_CTYPE '{row[2]}'"
            try:
                connection.execute(f'CREATE DATABASE "{self.name}" TEMPLATE template0{wanted}')
            except driver().errors.InsufficientPrivilege as error:
                raise Unavailable(
                    f"the role {self._parameters().get('user')!r} may not create databases, so there is no copy",
                    hint="Give it that right: ALTER ROLE ... CREATEDB.",
                ) from error

    def _programs(self, like: Postgres) -> postgres_programs.Programs:
        with closing(self._maintenance()) as connection:
            return postgres_programs.find(connection.info.server_version // 10_000)

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            return self._open(self._plain)
        except driver().OperationalError as error:
            raise Unavailable(f"the database cannot be reached: {_without(error)}", hint=_HINT) from error

    def _maintenance(self) -> psycopg.Connection[Any]:
        """To another database of the server: the real one of a copy, or one that every server has."""
        problem: Exception | None = None
        names = (*((self._source.name,) if self._source else ()), "postgres", "template1")
        for name in names:
            try:
                return self._open(self._named(name).replace(self.url.partition("://")[0], "postgresql", 1))
            except driver().OperationalError as error:
                problem = error
        raise Unavailable(f"the database server cannot be reached: {_without(problem)}", hint=_HINT) from problem

    def _open(self, url: str) -> psycopg.Connection[Any]:
        made: psycopg.Connection[Any] = driver().connect(
            url, autocommit=True, application_name="conveyor", connect_timeout=10
        )
        return made

    def _named(self, name: str) -> str:
        """The same URL with another database."""
        scheme, _, rest = self.url.partition("://")
        address, question, query = rest.partition("?")
        server, _, _ = address.partition("/")
        query = "&".join(part for part in query.split("&") if not part.startswith("dbname="))
        return f"{scheme}://{server}/{name}{question}{query}"

    def _parameters(self) -> dict[str, Any]:
        return dict(driver().conninfo.conninfo_to_dict(self._plain))


def _identifier(text: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", text.lower())[:63]


def _digest(value: object) -> str:
    return blake3(repr(value).encode()).hexdigest()[:24]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _without(error: Exception | None) -> str:
    """libpq's message names host, port and role, never the password."""
    return str(error).strip().splitlines()[-1] if error else ""
