"""The shop's one table, and the questions asked of it. Times are microseconds since the epoch, UTC."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from shop import features

BUSY_MS = 10_000
KEEP = (features.REACH_DAYS + 8) * features.DAY
"""What the cached history keeps before its newest row, microseconds: the features' reach and a week of slack."""

metadata = sa.MetaData()
transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("transaction_id", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("customer_id", sa.BigInteger, nullable=False),
    sa.Column("terminal_id", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("fraud", sa.SmallInteger),  # null until it is known
    sa.Column("approved", sa.Boolean),  # null: imported, never decided here
    sa.Column("score", sa.Float),
    sa.Column("model_version", sa.String),  # null: the rule decided
    sa.Column("prediction_id", sa.String),
    sa.Column(
        "change", sa.BigInteger, nullable=False
    ),  # grows with every write; readers fetch what is newer than they know
)
_RAW = "transaction_id, at, customer_id, terminal_id, amount, fraud"
_RAW_TYPES = dict(zip(features.RAW, (pl.Int64, pl.Int64, pl.Int64, pl.Int64, pl.Float64, pl.Int8), strict=True))
_NOTHING = pl.DataFrame(schema=_RAW_TYPES).with_columns(pl.from_epoch(features.TIME, "us"))
_NEXT = "(SELECT coalesce(max(change), 0) + 1 FROM transactions)"
_DECIDE = f"""
INSERT INTO transactions ({_RAW}, approved, score, model_version, prediction_id, change)
VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, {_NEXT})
ON CONFLICT (transaction_id) DO UPDATE SET approved = excluded.approved, score = excluded.score,
    model_version = excluded.model_version, prediction_id = excluded.prediction_id, change = excluded.change"""
_SETTLE = f"""
INSERT INTO transactions ({_RAW}, change) VALUES (?, ?, ?, ?, ?, ?, {_NEXT})
ON CONFLICT (transaction_id) DO UPDATE SET at = excluded.at, customer_id = excluded.customer_id,
    terminal_id = excluded.terminal_id, amount = excluded.amount,
    fraud = coalesce(excluded.fraud, fraud), change = excluded.change"""
_LABEL = f"UPDATE transactions SET fraud = ?, change = {_NEXT} WHERE transaction_id = ?"
_NEAR = f"""
SELECT {_RAW} FROM transactions WHERE customer_id = ?1 AND at > ?3 AND at <= ?4 AND transaction_id <> ?5
UNION SELECT {_RAW} FROM transactions WHERE terminal_id = ?2 AND at > ?3 AND at <= ?4 AND transaction_id <> ?5"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the shop answered to a payment. `model_version` is None when no model answered and the rule decided."""

    transaction_id: int
    approved: bool
    score: float | None
    prediction_id: str | None
    model_version: str | None


def connect(url: str) -> sa.Engine:
    """An engine; SQLite files are put into WAL mode, so that two replicas read while one writes."""
    engine = sa.create_engine(url, pool_size=16, max_overflow=32)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in (
            f"busy_timeout = {BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "cache_size = -16000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


class Book:
    """All reads and writes of the shop."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._history: pl.DataFrame | None = None
        self._seen = 0
        self._floor = 0
        self._lock = threading.Lock()

    def ready(self) -> bool:
        with self._engine.connect() as connection:
            connection.execute(sa.text("SELECT change FROM transactions LIMIT 1")).all()
        return True

    def decided(self, transaction_id: int) -> Decision | None:
        """The decision already given for this payment: asking twice must not decide twice."""
        table = transactions.c
        query = sa.select(table.transaction_id, table.approved, table.score, table.prediction_id, table.model_version)
        with self._engine.connect() as connection:
            row = connection.execute(
                query.where(table.transaction_id == transaction_id, table.approved.is_not(None))
            ).first()
        return Decision(*row) if row else None

    def near(self, transaction_id: int, customer: int, terminal: int, at: int) -> pl.DataFrame:
        """The customer's and the terminal's rows that the features of a payment at `at` can read."""
        known = (customer, terminal, at - features.REACH_DAYS * features.DAY, at, transaction_id)
        with self._engine.connect() as connection:
            return _read(connection, _NEAR, known)

    def decide(self, at: int, customer: int, terminal: int, amount: float, decision: Decision) -> None:
        row = (decision.transaction_id, at, customer, terminal, amount)
        answer = (decision.approved, decision.score, decision.model_version, decision.prediction_id)
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_DECIDE, row + answer)

    def settle(self, rows: pl.DataFrame) -> int:
        """Insert or complete whole transactions (columns `features.RAW`); a label once known is never unlearnt."""
        return self._write(
            _SETTLE, rows.select(features.RAW).with_columns(pl.col(features.TIME).dt.timestamp("us")).rows()
        )

    def label(self, rows: pl.DataFrame) -> int:
        """Labels that have become known, for transactions already here."""
        return self._write(_LABEL, rows.select(features.LABEL, features.KEY).rows())

    def recent(self, limit: int) -> list[dict[str, Any]]:
        query = (
            sa.select(transactions)
            .where(transactions.c.approved.is_not(None))
            .order_by(transactions.c.change.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def history(self, since: int) -> pl.DataFrame:
        """All transactions after `since` (columns `features.RAW`), kept in memory: only what changed is read again."""
        with self._lock, self._engine.connect() as connection:
            known = self._history
            if known is None or since < self._floor:
                newest = connection.execute(sa.text("SELECT max(at) FROM transactions")).scalar() or 0
                self._floor = min(since, newest - KEEP)
                known, where, bound = _NOTHING, "at > ?", self._floor
            else:
                where, bound = "change > ?", self._seen
            # Read before the rows are: what is written between the two is read once more next time, and never missed.
            self._seen = connection.execute(sa.text("SELECT coalesce(max(change), 0) FROM transactions")).scalar_one()
            changed = _read(connection, f"SELECT {_RAW} FROM transactions WHERE {where}", (bound,))
            if changed.height:
                known = pl.concat([known, changed]).unique(features.KEY, keep="last")
            self._history = known = self._prune(known)
            return known

    def _prune(self, known: pl.DataFrame) -> pl.DataFrame:
        """Forget what is far older than the newest row, a week at a time."""
        times = known[features.TIME].dt.timestamp("us")
        newest = int(times.max() or 0)  # type: ignore[arg-type]
        if newest - KEEP - 7 * features.DAY < self._floor:
            return known
        self._floor = newest - KEEP
        return known.filter(times > self._floor)

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        many = list(rows)
        if many:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(statement, many)
        return len(many)


def _read(connection: sa.Connection, query: str, bounds: tuple[int, ...]) -> pl.DataFrame:
    rows = connection.exec_driver_sql(
        query, bounds
    ).cursor.fetchall()  # the driver's own tuples: twice as fast over 400,000 rows
    columns = list(zip(*rows, strict=True)) or [()] * len(_RAW_TYPES)
    made = [
        pl.Series(name, values, dtype=kind) for (name, kind), values in zip(_RAW_TYPES.items(), columns, strict=True)
    ]
    return pl.DataFrame(made).with_columns(pl.from_epoch(features.TIME, "us"))
