"""The tables, as ordered migrations. One that was ever released is never edited; a later one changes what it made."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, MetaData, Table, Text, inspect, select

from conveyor.errors import Refused

_Key = BigInteger().with_variant(Integer, "sqlite")


@dataclass(frozen=True, slots=True)
class Migration:
    """Adds collections: name -> the columns that queries may select by; and indexes over several of a collection."""

    number: int
    collections: dict[str, tuple[str, ...]]
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        {
            "projects": (),
            "runs": ("project", "kind", "subject", "state"),
            "step_cache": (),
            "builds": ("project", "commit"),
            "dataset_versions": ("dataset",),
            "arrivals": ("dataset", "state"),
            "quarantine": ("dataset",),
            "model_versions": ("model", "status"),
            "aliases": ("model",),
            "alias_moves": ("model",),
            "environments": ("project",),
            "releases": ("environment",),
            "rollouts": ("environment", "state"),
            "instances": ("target",),
            "governors": ("project",),
            "cursors": (),
            "open_windows": ("model",),
            "windows": ("model",),
            "prediction_parts": ("model", "state"),
            "quality": ("model",),
        },
    ),
    Migration(
        2,
        {
            "secrets": ("environment", "name"),
            "receipts": ("environment",),
            "remotes": (),
            "schemas": ("environment",),
        },
    ),
    Migration(3, {"tokens": ("name",)}),
    Migration(4, {"data_tags": ("dataset",), "data_tag_moves": ("dataset",)}),
    Migration(5, {"erasures": ("dataset",), "quarantine_past": ("dataset",)}),
    Migration(
        6,
        {"watched": ("dataset",), "row_keys": ("dataset",), "fetches": (), "links": ("source",), "served": ()},
        indexes={"arrivals": ("dataset", "state")},
    ),
    Migration(7, {"stale": ()}),
    Migration(8, {"kept_files": (), "trusted_files": ()}),
    Migration(9, {"verifications": ("model",)}),
    Migration(10, {"sweeps": ("project", "state")}),
    Migration(11, {"step_pasts": ()}),
    Migration(12, {"expectations": ("model",)}),
    Migration(13, {"alerts": ("project", "subject", "state", "notice"), "mutes": ()}),
    Migration(14, {"shadows": ("rollout",), "shadow_halves": ()}),
    Migration(15, {"notices": ("channel",)}),
)


def tables(metadata: MetaData) -> dict[str, Table]:
    """All collections of all migrations, and the tables that every store has: events, leases, migrations."""
    made: dict[str, Table] = {}
    for migration in MIGRATIONS:
        for name, columns in migration.collections.items():
            made[name] = _collection(metadata, name, columns)
        for name, columns in migration.indexes.items():
            Index(_name(name, columns), *(made[name].c[column] for column in columns), made[name].c.seq)
    made["events"] = Table(
        "events",
        metadata,
        Column("seq", _Key, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False, unique=True),
        Column("project", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", Text, nullable=False),
        Index("events_by_subject", "subject", "type", "seq"),
        Index("events_by_type", "type", "seq"),
        sqlite_autoincrement=True,
    )
    made["leases"] = Table(
        "leases",
        metadata,
        Column("name", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("token", _Key, nullable=False),
        Column("expires", Text, nullable=False),
    )
    made["migrations"] = Table("migrations", metadata, Column("number", Integer, primary_key=True))
    return made


def _collection(metadata: MetaData, name: str, columns: tuple[str, ...]) -> Table:
    return Table(
        name,
        metadata,
        Column("seq", _Key, primary_key=True, autoincrement=True),
        Column("key", Text, nullable=False, unique=True),
        *(Column(column, Text, nullable=False, default="") for column in columns),
        Column("body", Text, nullable=False),
        *(Index(f"{name}_by_{column}", column, "seq") for column in columns),
        sqlite_autoincrement=True,
    )


def _name(collection: str, columns: tuple[str, ...]) -> str:
    return f"{collection}_by_{'_and_'.join(columns)}"


def refuse_newer(connection: Connection, made: dict[str, Table]) -> set[int]:
    """The numbers of the migrations that were applied. Refused: what an older Conveyor would read wrongly, or harm."""
    if not inspect(connection).has_table("migrations"):
        return set()
    applied = {row.number for row in connection.execute(select(made["migrations"].c.number))}
    newest = MIGRATIONS[-1].number
    if max(applied, default=0) > newest:
        raise Refused(
            f"the records were written by a newer Conveyor (migration {max(applied)}; this one knows {newest})",
            hint="Install that version again, or restore a copy of the records that was made before the upgrade.",
        )
    return applied


def migrate(connection: Connection, made: dict[str, Table]) -> None:
    """Brings the database to the newest migration; one of a newer Conveyor is refused."""
    applied = refuse_newer(connection, made)
    table = made["migrations"]
    if not applied:
        for name in ("migrations", "events", "leases"):
            made[name].create(connection, checkfirst=True)
    for migration in MIGRATIONS:
        if migration.number in applied:
            continue
        for name in migration.collections:
            made[name].create(connection, checkfirst=True)
        for name, columns in migration.indexes.items():
            wanted = _name(name, columns)
            next(index for index in made[name].indexes if index.name == wanted).create(connection, checkfirst=True)
        connection.execute(table.insert().values(number=migration.number))
