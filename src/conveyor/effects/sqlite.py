"""SQLite databases: copied by the backup API while they are in use, watched by asking the kernel for their locks."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from blake3 import blake3

from conveyor.domain.migration import Fingerprint
from conveyor.errors import NoSpace, StepFailed

_WAIT = 30.0  # seconds for somebody else's lock
# https://www.sqlite.org/fileformat2.html: the bytes that a writer locks, in the file and in its -shm of WAL mode.
_RESERVED, _WAL_WRITE = 0x40000001, 120
_FLOCK = "hhqqi"  # struct flock of 64-bit Linux
VERSIONS = ("alembic_version", "django_migrations", "schema_migrations", "goose_db_version", "_prisma_migrations",
            "flyway_schema_history", "_sqlx_migrations", "_yoyo_migration", "schema_version", "migrations")  # fmt: skip
"""Where common migration tools note how far they have come."""


class Sqlite:
    kind = "sqlite"

    def __init__(self, url: str, cwd: Path, source: Sqlite | None = None) -> None:
        self.url = url
        self._scheme, _, rest = url.partition("://")
        self.path = cwd / rest.partition("?")[0].removeprefix("/")
        self._source = source

    def beside(self, place: str, folder: Path) -> Sqlite:
        return Sqlite(f"{self._scheme}:///{folder / place}.db", folder, self)

    def fill(self, source: Path | None = None) -> None:
        if self._source is None:
            raise StepFailed(f"{self.path} is not a copy of anything", hint="This is a bug; report it.")
        self._take(source or self._source.path)

    def copy_of(self, source: Sqlite) -> None:
        self._take(source.path)

    def drop(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def ensure(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def backup(self, base: Path) -> Path:
        target = base.with_name(f"{base.name}.db")
        Sqlite(f"sqlite:///{target}", base.parent)._take(self.path)
        target.chmod(0o600)
        return target

    def restore(self, backup: Path) -> None:
        """Page by page in one transaction: who reads meanwhile sees the database before or after."""
        self.ensure()
        with closing(self._connect(backup)) as from_, closing(self._connect(self.path)) as to:
            from_.backup(to)

    def fingerprint(self) -> Fingerprint:
        with closing(self._connect(self.path if self.path.exists() else Path(":memory:"))) as connection:
            rows = connection.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                "ORDER BY type, name"
            ).fetchall()
            tables = {name for kind, name, _, _ in rows if kind == "table"}
            noted = [(t, sorted(map(repr, connection.execute(f"SELECT * FROM {t}")))) for t in VERSIONS if t in tables]
            noted.append(("user_version", [repr(connection.execute("PRAGMA user_version").fetchone())]))
        return Fingerprint(_digest([(*row[:3], " ".join((row[3] or "").split())) for row in rows]), _digest(noted))

    def content(self) -> str | None:
        if not self.path.exists():
            return ""
        # Opened and closed as the last one, it has no write-ahead log beside it.
        with closing(self._connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        hasher = blake3()
        hasher.update_mmap(self.path)
        return hasher.hexdigest()

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @contextmanager
    def watching(self) -> Iterator[Callable[[], set[str]]]:
        yield self._held

    def _held(self) -> set[str]:
        """SQLite has one lock for all tables. The kernel tells who holds it; asking does not take it."""
        shm = self.path.with_name(f"{self.path.name}-shm")
        locked = _locked(self.path, _RESERVED) or _locked(shm, _WAL_WRITE)
        return {"any table"} if locked else set()

    def limits(self, lock_seconds: float) -> dict[str, str]:
        return {}

    def silence(self) -> None:
        """Its locks ended with its process."""

    def _take(self, source: Path) -> None:
        self.ensure()
        temporary = self.path.with_name(f"{self.path.name}.new")
        temporary.unlink(missing_ok=True)
        if source.exists():
            _room(self.path.parent, source.stat().st_size)
            with closing(self._connect(source)) as from_, closing(sqlite3.connect(temporary)) as to:
                from_.backup(to)  # in one go: a copy in pieces begins anew whenever somebody writes
        else:
            sqlite3.connect(temporary).close()
            temporary.touch()
        self.drop()
        temporary.replace(self.path)

    def _connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_WAIT)


def _digest(value: object) -> str:
    return blake3(repr(value).encode()).hexdigest()[:24]


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.1 + (64 << 20):
        raise NoSpace(
            f"a copy of the database needs {needed >> 20} MB, and {folder} has {free >> 20} MB left",
            hint="Free space there; nothing was touched.",
        )


def _locked(path: Path, byte: int) -> bool:
    """Whether another process holds this byte: F_GETLK. What is not Linux cannot say, and says no."""
    if sys.platform != "linux" or not path.exists():
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        answer = fcntl.fcntl(handle, fcntl.F_GETLK, asked.ljust(32, b"\0"))
    finally:
        os.close(handle)
    return bool(struct.unpack(_FLOCK, answer[: struct.calcsize(_FLOCK)])[0] != fcntl.F_UNLCK)
