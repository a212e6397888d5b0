"""Records: documents in SQL. A dataclass is stored whole as JSON beside the columns that queries select by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, MetaData, Select, Table, create_engine, event, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, OperationalError

from conveyor.domain import wire
from conveyor.domain.events import Event
from conveyor.errors import LeaseLost, NoSpace, NotFound, Unavailable
from conveyor.stores.schema import migrate, refuse_newer, tables

T = TypeVar("T")
_WRITER = 0x636F6E76  # the advisory lock that writers on PostgreSQL take turns with: "conv"


@dataclass(frozen=True, slots=True)
class Collection(Generic[T]):
    """A named set of documents of one type. `key` and `index` are attribute names of the type."""

    name: str
    type: type[T]
    key: str = "id"
    index: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a piece of work until `expires`; `token` grows with every owner; old tokens are fenced off."""

    name: str
    owner: str
    token: int
    expires: datetime


class Records:
    """The durable records, in SQLite (WAL) or PostgreSQL by URL.

    `prepare=False` leaves the tables as they are: for whoever only looks, maybe while another version still works.
    """

    def __init__(self, url: str, *, prepare: bool = True) -> None:
        self._engine = _engine(url)
        self._metadata = MetaData()
        self._tables = tables(self._metadata)
        self._writing = self._engine.execution_options(write=True)
        self._writer = threading.Lock()
        self.revision = 0
        """Grows with every transaction of this process that wrote: what has not grown need not be read again."""
        if prepare:
            with self._writing.begin() as connection:
                migrate(connection, self._tables)

    def applied(self) -> set[int]:
        """The migrations that the database has seen. Refused when a newer Conveyor wrote it."""
        try:
            with self._engine.connect() as connection:
                return refuse_newer(connection, self._tables)
        except DBAPIError as error:
            raise _translated(error) from error

    def damage(self) -> list[str]:
        """What the database itself finds wrong with its files; a server looks after its own."""
        try:
            with self._engine.connect() as connection:
                if connection.dialect.name != "sqlite":
                    connection.exec_driver_sql("SELECT 1")
                    return []
                rows = connection.exec_driver_sql("PRAGMA quick_check(10)").scalars()
                return [str(row) for row in rows if row != "ok"]
        except DBAPIError as error:
            return [str(error.orig)]

    def checkpoint(self) -> None:
        """Writes SQLite's log back into the database and empties it, as far as no reader needs it."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def transaction(self, lease: Lease | None = None) -> Iterator[Transaction]:
        """All or nothing. With a lease, the transaction fails with LeaseLost if another owner took the work over."""
        try:
            with self._writer:
                with self._writing.begin() as connection:
                    transaction = Transaction(connection, self._tables)
                    if lease is not None:
                        transaction.check(lease)
                    yield transaction
                self.revision += 1
        except DBAPIError as error:
            raise _translated(error) from error

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view; readers never wait for writers."""
        try:
            with self._engine.connect() as connection:
                yield Transaction(connection, self._tables)
        except DBAPIError as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._engine.dispose()


class Transaction:
    """The few verbs: get, find, put, delete, append, events, and leases."""

    def __init__(self, connection: Connection, made: dict[str, Table]) -> None:
        self._connection = connection
        self._tables = made

    def get(self, collection: Collection[T], key: str) -> T | None:
        table = self._tables[collection.name]
        body = self._connection.execute(select(table.c.body).where(table.c.key == key)).scalar()
        return None if body is None else wire.from_json(body, collection.type)

    def need(self, collection: Collection[T], key: str) -> T:
        """Like get, but NotFound when there is none."""
        found = self.get(collection, key)
        if found is None:
            raise NotFound(f"there is no {collection.name.rstrip('s').replace('_', ' ')} {key!r}")
        return found

    def find(
        self,
        collection: Collection[T],
        *,
        where: Mapping[str, str] | None = None,
        limit: int = 100,
        newest: bool = True,
    ) -> list[T]:
        """Documents by indexed columns, newest first unless told otherwise."""
        table = self._tables[collection.name]
        query = _filtered(select(table.c.body), table, where)
        query = query.order_by(table.c.seq.desc() if newest else table.c.seq).limit(limit)
        return [wire.from_json(body, collection.type) for body in self._connection.execute(query).scalars()]

    def count(self, collection: Collection[Any], *, where: Mapping[str, str] | None = None) -> int:
        table = self._tables[collection.name]
        return int(
            self._connection.execute(_filtered(select(func.count()).select_from(table), table, where)).scalar_one()
        )

    def bodies(self, apart: Container[str]) -> Iterator[tuple[str, str]]:
        """Every document as text, with its collection's name, but those of the collections named."""
        for name, table in self._tables.items():
            if name not in apart and "body" in table.c and name != "events":
                for body in self._connection.execute(select(table.c.body)).scalars():
                    yield name, body

    def put(self, collection: Collection[T], document: T) -> None:
        """Inserts, or replaces the document of the same key; its place in the order stays."""
        table = self._tables[collection.name]
        values = {name: str(getattr(document, name)) for name in collection.index}
        values["body"] = wire.to_json(document).decode()
        key = str(getattr(document, collection.key))
        upsert = self._insert(table).values(key=key, **values)
        self._connection.execute(upsert.on_conflict_do_update(index_elements=["key"], set_=values))

    def delete(self, collection: Collection[Any], key: str) -> None:
        table = self._tables[collection.name]
        self._connection.execute(table.delete().where(table.c.key == key))

    def append(self, event: Event) -> Event:
        table = self._tables["events"]
        body = wire.to_json(event).decode()
        values = {"id": event.id, "project": event.project, "type": event.type, "subject": event.subject, "body": body}
        seq = self._connection.execute(insert(table).values(**values).returning(table.c.seq)).scalar_one()
        return replace(event, seq=int(seq))

    def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        project: str | None = None,
        subject: str | None = None,
        types: tuple[str, ...] = (),
        limit: int = 100,
        newest: bool = False,
    ) -> list[Event]:
        """A page of the log: after a position, before another, by project, subject and types."""
        table = self._tables["events"]
        query = select(table.c.seq, table.c.body).where(table.c.seq > after)
        if before is not None:
            query = query.where(table.c.seq < before)
        if project is not None:
            query = query.where(table.c.project == project)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        if types:
            query = query.where(table.c.type.in_(types))
        query = query.order_by(table.c.seq.desc() if newest else table.c.seq).limit(limit)
        return [replace(wire.from_json(row.body, Event), seq=row.seq) for row in self._connection.execute(query)]

    def position(self, moment: datetime) -> int:
        """Where in the log events begin to be of `moment` or later; found by bisection, since times grow with places.

        They do up to the time that a transaction takes; who needs more takes an earlier moment.
        """
        low, high = 0, max((event.seq for event in self.events(limit=1, newest=True)), default=0)
        while low < high:
            middle = (low + high + 1) // 2
            found = self.events(after=low, before=middle + 1, limit=1, newest=True)
            if not found or found[0].time < moment:
                low = middle
            else:
                high = found[0].seq - 1
        return low

    def acquire(
        self,
        name: str,
        owner: str,
        now: datetime,
        ttl: timedelta,
        gone: Callable[[str], bool] = lambda _owner: False,
    ) -> Lease | None:
        """The lease if it is free, expired or ours, or if its owner is `gone`.

        A new owner gets a higher token, which fences the old one off.
        """
        table = self._tables["leases"]
        row = self._connection.execute(select(table).where(table.c.name == name)).first()
        expires = now + ttl
        if row is None:
            self._connection.execute(insert(table).values(name=name, owner=owner, token=1, expires=expires.isoformat()))
            return Lease(name, owner, 1, expires)
        if row.owner != owner and datetime.fromisoformat(row.expires) > now and not gone(row.owner):
            return None
        token = row.token if row.owner == owner else row.token + 1
        self._connection.execute(
            update(table).where(table.c.name == name).values(owner=owner, token=token, expires=expires.isoformat())
        )
        return Lease(name, owner, token, expires)

    def lease(self, name: str) -> Lease | None:
        """Who holds it, or held it last."""
        table = self._tables["leases"]
        row = self._connection.execute(select(table).where(table.c.name == name)).first()
        return None if row is None else Lease(name, row.owner, row.token, datetime.fromisoformat(row.expires))

    def check(self, lease: Lease) -> None:
        table = self._tables["leases"]
        token = self._connection.execute(select(table.c.token).where(table.c.name == lease.name)).scalar()
        if token != lease.token:
            raise LeaseLost(f"{lease.name} was taken over by another process", hint="This process stops working on it.")

    def _insert(self, table: Table) -> Any:
        return (sqlite_insert if self._connection.dialect.name == "sqlite" else postgres_insert)(table)


def _filtered(query: Select[Any], table: Table, where: Mapping[str, str] | None) -> Select[Any]:
    for column, value in (where or {}).items():
        query = query.where(table.c[column] == value)
    return query


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return _postgres(url)
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: str) -> Engine:
    """As SQLite does it: readers see one moment, writers come one after the other."""
    engine = create_engine(url, pool_pre_ping=True, isolation_level="REPEATABLE READ")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("write"):
            # Before the first look: at READ COMMITTED every statement then sees what the writer before has committed.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")

    return engine


def _translated(error: DBAPIError) -> Exception:
    text = str(error.orig)
    if "disk is full" in text or "No space left" in text:
        return NoSpace("the disk with the records is full", hint="Free some space; nothing that was committed is lost.")
    if isinstance(error, OperationalError):
        return Unavailable(f"the records cannot be reached: {text}", hint="Check the database URL and the disk.")
    return error
