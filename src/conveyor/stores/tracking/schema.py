"""The tables of tracked runs. They stand apart from the records: here is one row a point, and millions of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint, func

METADATA = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")
SHORT = 100
"""Texts are found by so many of their first characters: PostgreSQL refuses longer index entries."""

EXPERIMENTS = Table(
    "tracked_experiments",
    METADATA,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("location", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

EXPERIMENT_TAGS = Table(
    "tracked_experiment_tags",
    METADATA,
    Column("experiment", _Id, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

RUNS = Table(
    "tracked_runs",
    METADATA,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("experiment", _Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("stage", Text, nullable=False),
    Index("tracked_runs_by_start", "experiment", "stage", "started", "uuid"),
    sqlite_autoincrement=True,
)


def _texts(name: str) -> Table:
    table = Table(
        name,
        METADATA,
        Column("run", _Id, primary_key=True, autoincrement=False),
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
        sqlite_with_rowid=False,
    )
    Index(f"{name}_by_value", table.c.key, func.substr(table.c.value, 1, SHORT), table.c.run)
    return table


PARAMS = _texts("tracked_params")
TAGS = _texts("tracked_tags")

METRICS = Table(
    "tracked_metrics",
    METADATA,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
)
"""The names of metrics, as small numbers for the millions of points."""

LATEST = Table(
    "tracked_latest",
    METADATA,
    Column("run", _Id, primary_key=True, autoincrement=False),
    Column("metric", _Id, primary_key=True, autoincrement=False),
    Column("step", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("nan", Boolean, nullable=False),
    Index("tracked_latest_by_value", "metric", "nan", "value", "run"),
    sqlite_with_rowid=False,
)

POINTS = Table(
    "tracked_points",
    METADATA,
    Column("run", _Id, primary_key=True, autoincrement=False),
    Column("metric", _Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("value", Float(53), primary_key=True),
    Column("nan", Boolean, primary_key=True),
    sqlite_with_rowid=False,
)
"""In the order in which a history is read: by time, step and value."""

FILES = Table(
    "tracked_files",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("tracked_files_by_digest", "digest"),
)

DOCUMENTS = Table(
    "tracked_documents",
    METADATA,
    Column("seq", _Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("kind", "key"),
    Index("tracked_documents_by_parent", "kind", "parent", "seq"),
)
"""What is rare: logged models, registered models and their versions, inputs and outputs of runs."""
