"""Which chunk lies where: a cache in SQLite of what the packs say of themselves; it can be deleted at any time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from conveyor.errors import NoSpace, Unavailable
from conveyor.stores.data.pack import Place

_FORMAT = 1
_BATCH = 500  # digests a query
_SCHEMA = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, name BLOB UNIQUE NOT NULL, size INTEGER NOT NULL, modified REAL NOT NULL);
CREATE TABLE chunks (digest BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored INTEGER NOT NULL,
    raw INTEGER NOT NULL, PRIMARY KEY (digest, pack)) WITHOUT ROWID;
"""


class Found(NamedTuple):
    """A chunk's pack by its name, and its place there."""

    pack: bytes
    offset: int
    stored: int
    raw: int


class KnownPack(NamedTuple):
    name: bytes
    size: int
    modified: float  # seconds since the epoch


class Index:
    """One file for all processes of a machine; each thread has its own connection. `fresh`: it was empty when opened,
    and knows nothing yet of packs that are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self.fresh = False
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _told(error, path) from error
            self._discard()
            self._prepare()

    def find(self, digests: Sequence[bytes], without: Container[bytes] = ()) -> dict[bytes, Found]:
        """A place of each chunk; those that are nowhere are left out, or only in packs `without` which it should be."""
        return {digest: found for digest, found in self._rows(digests) if found.pack not in without}

    def copies(self, digest: bytes) -> list[Found]:
        """Every place of one chunk."""
        return [found for _, found in self._rows([digest])]

    def _rows(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, Found]]:
        with self._reading() as connection:
            for start in range(0, len(digests), _BATCH):
                batch = digests[start : start + _BATCH]
                rows = connection.execute(
                    "SELECT c.digest, p.name, c.offset, c.stored, c.raw FROM chunks c JOIN packs p ON p.id = c.pack"
                    f" WHERE c.digest IN ({','.join('?' * len(batch))})",
                    batch,
                )
                for row in rows.fetchall():
                    yield row[0], Found(*row[1:])

    def packs(self) -> dict[bytes, KnownPack]:
        with self._reading() as connection:
            rows = connection.execute("SELECT name, size, modified FROM packs")
            return {row[0]: KnownPack(*row) for row in rows}

    def sizes(self) -> tuple[int, int]:
        """How many packs are known, and the bytes of all."""
        with self._reading() as connection:
            row = connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM packs").fetchone()
        return int(row[0]), int(row[1])

    def chunks_of(self, pack: bytes) -> list[Place]:
        """The chunks of a pack, by offset."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT digest, offset, stored, raw FROM chunks WHERE pack = (SELECT id FROM packs WHERE name = ?)"
                " ORDER BY offset",
                (pack,),
            )
            return [Place(*row) for row in rows]

    def everything(self) -> Iterator[tuple[bytes, bytes, int]]:
        """(digest, pack, stored bytes) of every chunk in every pack, ordered by digest; for those that must see all."""
        with self._reading() as connection:
            names = dict(connection.execute("SELECT id, name FROM packs"))
            for digest, pack, stored in connection.execute("SELECT digest, pack, stored FROM chunks ORDER BY digest"):
                yield digest, names[pack], stored

    def add(self, pack: KnownPack, places: Iterable[Place]) -> None:
        self.add_many({pack: places})

    def add_many(self, packs: Mapping[KnownPack, Iterable[Place]]) -> None:
        with self._writing() as connection:
            for pack, places in packs.items():
                connection.execute("INSERT OR IGNORE INTO packs (name, size, modified) VALUES (?, ?, ?)", pack)
                (number,) = connection.execute("SELECT id FROM packs WHERE name = ?", (pack.name,)).fetchone()
                connection.executemany(
                    "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?)",
                    sorted((p.digest, number, p.offset, p.stored, p.raw) for p in places),
                )

    def forget(self, packs: Iterable[bytes]) -> None:
        with self._writing() as connection:
            for name in packs:
                connection.execute("DELETE FROM chunks WHERE pack = (SELECT id FROM packs WHERE name = ?)", (name,))
                connection.execute("DELETE FROM packs WHERE name = ?", (name,))

    def close(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _prepare(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == _FORMAT:
                return
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                for table in ("packs", "chunks"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
                self.fresh = True
            connection.execute("COMMIT")

    def _discard(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").unlink()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._open()
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection()
        except sqlite3.Error as error:
            raise _told(error, self._path) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _told(error, self._path) from error


def _told(error: sqlite3.Error, path: Path) -> Exception:
    if "full" in str(error):
        return NoSpace(f"no room for the index {path}", hint="Free some space; nothing that was stored is lost.")
    return Unavailable(
        f"the index of chunks does not answer: {error}",
        hint=f"It is a cache: when nothing of Conveyor's works on it, delete {path}; it is made anew from the packs.",
    )
