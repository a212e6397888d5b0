"""SQLite and PostgreSQL behind one seam: the same suite, on real ones."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conveyor.domain.migration import Holds
from conveyor.effects import postgres_programs
from conveyor.effects.database import Database, copy, database
from conveyor.effects.lint import lint
from conveyor.errors import InputRejected, StepFailed, Unavailable

TABLES = (
    "CREATE TABLE orders (id integer PRIMARY KEY, total integer NOT NULL)",
    "CREATE TABLE alembic_version (version_num varchar(32))",
    "CREATE INDEX by_total ON orders (total)",
    "INSERT INTO alembic_version VALUES ('a1')",
)


@contextmanager
def connected(url: str) -> Iterator[Any]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.partition("///")[2], timeout=10)) as connection, connection:
            yield connection
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            yield connection


def run(url: str, *statements: str) -> None:
    with connected(url) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'real.db'}"
    made: Callable[[], str] = request.getfixturevalue("postgres")
    return made().replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def real(url: str, tmp_path: Path) -> Database:
    found = database(url, tmp_path)
    found.ensure()
    run(url, *TABLES, *(f"INSERT INTO orders VALUES ({number}, {number * 10})" for number in range(1, 101)))
    return found


def test_a_copy_is_whole_while_somebody_writes(real: Database, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 1000
        while not stop.is_set():
            number += 1
            run(real.url, f"INSERT INTO orders VALUES ({number}, 0)")
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = real.beside("run-1", tmp_path)
        made.fill()
    finally:
        stop.set()
        writer.join()
    assert made.url != real.url
    assert made.url.partition("://")[0] == real.url.partition("://")[0]
    assert len(rows(made.url, "SELECT id FROM orders WHERE id <= 100")) == 100
    assert made.fingerprint() == real.fingerprint()
    run(made.url, "DROP TABLE orders")
    assert made.fingerprint().schema != real.fingerprint().schema
    made.fill()  # again: begun anew, with nothing left of before
    assert made.fingerprint() == real.fingerprint()
    second = made.beside("run-2", tmp_path)
    run(made.url, "ALTER TABLE orders ADD COLUMN note text")
    second.fill()
    assert second.fingerprint() == made.fingerprint() != real.fingerprint()
    for each in (made, second):
        each.drop()
        each.drop()
        assert each.size() == 0
    assert len(rows(real.url, "SELECT id FROM orders")) > 100


def test_the_fingerprint_knows_schema_and_position_apart(real: Database) -> None:
    before = real.fingerprint()
    run(real.url, "INSERT INTO orders VALUES (200, 1)")
    assert real.fingerprint() == before
    run(real.url, "UPDATE alembic_version SET version_num = 'a2'")
    moved = real.fingerprint()
    assert (moved.schema, moved.position != before.position) == (before.schema, True)
    run(real.url, "CREATE VIEW dear AS SELECT id FROM orders WHERE total > 500")
    viewed = real.fingerprint()
    assert viewed.schema != before.schema
    run(real.url, "DROP VIEW dear", "DROP INDEX by_total")
    assert real.fingerprint().schema not in (before.schema, viewed.schema)


def test_a_backup_brings_everything_back_under_live_connections(real: Database, tmp_path: Path) -> None:
    before, path = real.fingerprint(), real.backup(tmp_path / "before")
    assert path.stat().st_mode & 0o077 == 0
    with connected(real.url) as live:
        live.execute("SELECT 1")
        if real.kind == "postgresql":
            live.commit()
        run(
            real.url,
            "INSERT INTO orders VALUES (999, 9)",
            "ALTER TABLE orders DROP COLUMN total" if real.kind == "postgresql" else "DROP INDEX by_total",
            "CREATE TABLE more (id integer)",
        )
        real.restore(path)
        assert [tuple(row) for row in live.execute("SELECT max(id), sum(total) FROM orders")] == [(100, 50500)]
    assert real.fingerprint() == before
    other = real.beside("from-backup", tmp_path)
    other.fill(path)
    assert other.fingerprint() == before
    assert len(rows(other.url, "SELECT id FROM orders")) == 100
    other.drop()


def test_who_keeps_writers_waiting_is_seen(real: Database) -> None:
    """Another process holds a lock for a moment; readers hold none that counts."""
    statement = "BEGIN IMMEDIATE" if real.kind == "sqlite" else "LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE"
    driver = "sqlite3" if real.kind == "sqlite" else "psycopg"
    place = real.url.partition("///")[2] if real.kind == "sqlite" else real.url.replace("+psycopg", "")
    program = f"""
import {driver}, sys, time
c = {driver}.connect({place!r})
c.execute("SELECT count(*) FROM orders").fetchone()
print("reading", flush=True); sys.stdin.readline()
c.execute({statement!r})
print("holding", flush=True); sys.stdin.readline()
c.rollback()
print("free", flush=True); sys.stdin.readline()
"""
    holds = Holds()
    with (
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
        real.watching() as held,
    ):
        assert other.stdin
        assert other.stdout
        seen = []
        for now in (10.0, 12.0, 15.0):
            other.stdout.readline()
            seen.append(held())
            holds.look(now, seen[-1])
            holds.look(now + 1.5, seen[-1])
            other.stdin.write("\n")
            other.stdin.flush()
    table = "any table" if real.kind == "sqlite" else "orders"
    assert seen == [set(), {table}, set()]
    assert holds.longest == {table: 1.5}
    assert holds.beyond(2) is None
    assert holds.beyond(1) == table


def test_one_that_is_not_there_is_empty_everywhere(url: str, tmp_path: Path) -> None:
    name = url.rpartition("/")[2]
    missing = database(url.replace(name, f"no_{name}"), tmp_path)
    empty = missing.fingerprint()
    assert missing.size() == 0
    made = missing.beside("of-nothing", tmp_path)
    made.fill()
    assert made.fingerprint() == empty
    run(made.url, TABLES[0])
    assert made.fingerprint() != empty
    made.drop()
    missing.ensure()
    missing.ensure()
    run(missing.url, TABLES[0])
    assert missing.fingerprint() != empty
    missing.drop()


def test_copies_from_url_to_url(real: Database, tmp_path: Path) -> None:
    target = real.beside("preview", tmp_path)
    copy(real.url, target.url, tmp_path)
    assert target.fingerprint() == real.fingerprint()
    target.drop()
    other = "postgresql://127.0.0.1/x" if real.kind == "sqlite" else "sqlite:///x.db"
    with pytest.raises(InputRejected, match="cannot be copied to"):
        copy(real.url, other, tmp_path)


def test_what_is_wrong_is_said(tmp_path: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputRejected, match="'mysql'"):
        database("mysql://host/db", tmp_path)
    with pytest.raises(Unavailable, match="cannot be reached"):
        database("postgresql://u:a-password@127.0.0.1:1/x", tmp_path).fingerprint()
    url = postgres()
    run(url, TABLES[0], "CREATE ROLE humble LOGIN")
    humble = database(url.replace("postgres@", "humble@"), tmp_path)
    with pytest.raises(Unavailable, match="'humble' may not create databases") as caught:
        humble.beside("no", tmp_path).fill()
    assert "CREATEDB" in caught.value.hint
    with pytest.raises(StepFailed, match="permission denied"):
        humble.backup(tmp_path / "no")
    assert not list(tmp_path.glob("no.dump"))
    with pytest.raises(Unavailable, match="pg_dump, pg_restore and psql of version 99") as caught:
        postgres_programs.find(99)
    assert "postgresql-client-99" in caught.value.hint


def test_findings_of_the_linter(tmp_path: Path) -> None:
    found = lint("ALTER TABLE orders\n  DROP COLUMN total;\nCREATE INDEX i ON orders (note);\n", tmp_path)
    assert {(f.rule, f.line) for f in found} >= {("ban-drop-column", 2), ("require-concurrent-index-creation", 3)}
    assert lint("-- squawk-ignore ban-drop-column\nALTER TABLE orders DROP COLUMN IF EXISTS total;\n", tmp_path) == ()
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-column"]\n')
    assert lint("ALTER TABLE orders DROP COLUMN IF EXISTS total;\n", tmp_path) == ()
