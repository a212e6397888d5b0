"""The database of tracked runs: many readers, and one writer that commits what has come together as one group."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from conveyor.errors import ConveyorError, NoSpace, Unavailable
from conveyor.stores.tracking.schema import METADATA

T = TypeVar("T")
_GROUP = 256  # so many changes at most are committed together
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=30000",
    "cache_size=-65536",
    "temp_store=MEMORY",
    "case_sensitive_like=ON",  # as in PostgreSQL
)


class Prepared:
    """A statement of SQLAlchemy, compiled once for the hot path. Rows are tuples in the order of `names`."""

    def __init__(self, statement: Any, dialect: Dialect, names: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._names = names
        order = compiled.positiontup
        self._places = None if order is None else [names.index(name) for name in order]
        if self._places == list(range(len(names))):
            self._places = []

    def many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        if self._places is None:
            given: list[Any] = [dict(zip(self._names, row, strict=True)) for row in rows]
        else:
            given = [tuple(row[place] for place in self._places) for row in rows] if self._places else list(rows)
        connection.exec_driver_sql(self._sql, given if len(given) > 1 else given[0])


@dataclass(slots=True)
class Session:
    """A connection in a transaction, and what this process remembers of the database."""

    connection: Connection
    memory: Memory

    def driven(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows, as the database's driver gives them; nothing from outside stands in `sql`."""
        result = self.connection.exec_driver_sql(sql)
        try:
            return list(result.cursor.fetchall())
        finally:
            result.close()

    def upsert(self, table: Any) -> Any:
        return (sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert)(table)


@dataclass(slots=True)
class Memory:
    """Facts that never change, or that only the writer of this process changes."""

    prepared: dict[str, Prepared] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    """Runs that are active, by their id: their numbers."""

    def forget(self) -> None:
        self.metrics.clear()
        self.runs.clear()


@dataclass(slots=True)
class _Change:
    work: Callable[[Session], Any]
    done: Callable[[Any, BaseException | None], None]


class TrackingDatabase:
    """`write` hands a change to the writer; `read` sees all that was committed.

    On SQLite a commit does not wait for the disk (synchronous=NORMAL): a crash of a process loses nothing, a loss of
    power may lose the last commits, and never damages the file.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._memory = Memory()
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        with _translated(), self._engine.begin() as connection:
            METADATA.create_all(connection)
        self._thread = threading.Thread(target=self._run, name="tracking-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Session], T], done: Callable[[Any, BaseException | None], None]) -> None:
        """`done(result, error)` is called by the writer once the change is committed, or refused.

        `work` may be called again in another transaction. It raises a ConveyorError only before it has written.
        """
        self._queue.put(_Change(work, done))

    def write(self, work: Callable[[Session], T]) -> T:
        """As `submit`, and waits."""
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self.submit(work, lambda result, error: answer.put((result, error)))
        result, error = answer.get()
        if error is not None:
            raise error
        found: T = result
        return found

    @contextmanager
    def read(self) -> Iterator[Session]:
        with _translated(), self._engine.connect() as connection:
            yield Session(connection, self._memory)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < _GROUP and not last:
                try:
                    change = self._queue.get_nowait()
                except queue.Empty:
                    break
                if change is None:
                    last = True
                else:
                    group.append(change)
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[_Change]) -> None:
        """All in one transaction; where that fails, one by one, so that only those fail that must."""
        try:
            results = self._together(group)
        except BaseException as error:
            self._memory.forget()
            if len(group) > 1:
                for change in group:
                    self._commit([change])
                return
            results = [(None, error)]
        for change, (result, failed) in zip(group, results, strict=True):
            change.done(result, failed)

    def _together(self, group: list[_Change]) -> list[tuple[Any, BaseException | None]]:
        results: list[tuple[Any, BaseException | None]] = []
        with _translated(), self._engine.begin() as connection:
            session = Session(connection, self._memory)
            for change in group:
                try:
                    results.append((change.work(session), None))
                except ConveyorError as error:
                    results.append((None, error))
        return results


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        if "disk is full" in text or "No space left" in text:
            raise NoSpace(
                "the disk with the tracked runs is full", hint="Free some space; nothing that was committed is lost."
            ) from error
        raise Unavailable(f"the tracked runs cannot be reached: {text}", hint="Check the disk.") from error


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
