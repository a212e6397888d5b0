"""Queries with a cursor, against real databases: every row once, in order; what would lose rows is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from conveyor.domain import wire
from conveyor.domain.fetch import MOST_ROWS, FetchReport, FetchSpec
from conveyor.domain.step import StepError
from conveyor.effects import query

COLUMNS = "id INTEGER PRIMARY KEY, at TIMESTAMP, amount NUMERIC(10, 2), note TEXT"
SELECT = "SELECT id, at, amount, note FROM orders WHERE id > :cursor ORDER BY id"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'orders.db'}"
    else:
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        made = fresh()
    run(made, f"CREATE TABLE orders ({COLUMNS})")
    return made


def run(url: str, statement: str, rows: list[dict[str, Any]] | None = None) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(statement), rows)
    engine.dispose()


def insert(url: str, start: int, count: int) -> None:
    rows = [
        {"id": n, "at": f"2018-04-01 10:{n % 60:02d}:00", "amount": n / 4, "note": None}
        for n in range(start, start + count)
    ]
    run(url, "INSERT INTO orders VALUES (:id, CAST(:at AS TIMESTAMP), :amount, :note)" if "postgres" in url else
        "INSERT INTO orders VALUES (:id, :at, :amount, :note)", rows)  # fmt: skip


def ask(tmp_path: Path, spec: FetchSpec) -> FetchReport | StepError:
    """Through the entry point."""
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    spec_file = tmp_path / "spec.json"
    spec_file.write_bytes(wire.to_json(spec))
    if query.main([str(spec_file), str(out)]) != 0:
        return wire.from_json((out / "error.json").read_bytes(), StepError)
    report = wire.from_json((out / "fetch.json").read_bytes(), FetchReport)
    tables = [pl.read_parquet(out / name) for name in report.files]
    assert sum(table.height for table in tables) == report.rows
    return report


def test_each_row_comes_once(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS", url)
    monkeypatch.setattr(query, "CHUNK", 100)
    insert(url, 1, 250)
    spec = FetchSpec(0, query=SELECT, url="ORDERS", column="id")
    first = ask(tmp_path, spec)
    assert isinstance(first, FetchReport)
    assert (first.rows, len(first.files), first.cursor, first.more) == (250, 3, 250, False)
    insert(url, 251, 10)
    second = ask(tmp_path, FetchSpec(first.cursor, query=SELECT, url="ORDERS", column="id"))
    assert isinstance(second, FetchReport)
    assert (second.rows, second.cursor) == (10, 260)
    nothing = ask(tmp_path, FetchSpec(260, query=SELECT, url="ORDERS", column="id"))
    assert nothing == FetchReport(0, (), 260)
    monkeypatch.setattr("conveyor.sdk.fetch.MOST_ROWS", 150)
    cut = ask(tmp_path, spec)
    assert isinstance(cut, FetchReport)
    assert (cut.rows, cut.cursor, cut.more) == (200, 200, True)
    assert MOST_ROWS > 150


def test_a_time_is_a_cursor_too(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS", url)
    insert(url, 1, 20)
    by_time = "SELECT id, at FROM orders WHERE at > :cursor ORDER BY at"
    first = ask(tmp_path, FetchSpec("2018-04-01 10:10:00", query=by_time, url="ORDERS", column="at"))
    assert isinstance(first, FetchReport)
    assert first.rows == 10
    assert str(first.cursor).replace("T", " ") == "2018-04-01 10:20:00"
    again = ask(tmp_path, FetchSpec(first.cursor, query=by_time, url="ORDERS", column="at"))
    assert again == FetchReport(0, (), first.cursor)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg, of a failed query
def test_what_would_lose_rows_or_cannot_work_says_so(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS", url)
    monkeypatch.setenv("WRONG", "not a database")
    insert(url, 1, 20)
    run(url, "INSERT INTO orders VALUES (99, NULL, NULL, NULL)")
    down, before = SELECT.replace("BY id", "BY id DESC"), SELECT.replace("id > :cursor", "id < 100 OR id = :cursor")
    for cursor, asked, url_, column, says in (
        (0, down, "ORDERS", "id", "do not come in the order of id"),
        (9, before, "ORDERS", "id", "gave rows from before the cursor"),
        (0, SELECT, "ORDERS", "number", "has no column 'number'; it has id, at, amount, note"),
        (0, SELECT, "ORDERS", "at", "column at is null"),
        (0, "SELEC", "ORDERS", "id", "the query failed: "),
        (0, SELECT, "WRONG", "id", "is not the URL of a database"),
    ):
        error = ask(tmp_path, FetchSpec(cursor, query=asked, url=url_, column=column))
        assert isinstance(error, StepError)
        assert re.search(re.escape(says), error.message), error.message
        assert error.hint
