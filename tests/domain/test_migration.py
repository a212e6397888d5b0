"""Which steps a release's databases need, what comes after a kill, and whom a schema serves. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from conveyor.domain import migration
from conveyor.domain.migration import Fingerprint, Holds, Resume, resume
from conveyor.domain.project import ProjectConfig, ServiceConfig
from conveyor.domain.release import Build
from conveyor.domain.schema import Schema, SchemaChange, to_migrate, unproven

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = ServiceConfig("web", "run", database="DATABASE_URL", migrate="m", migrate_sql="sql", timeout=timedelta(minutes=3))
API = ServiceConfig("api", "run", database="DATABASE_URL", migrate="m")
READER = ServiceConfig("reader", "run", database="DATABASE_URL")
OTHER = ServiceConfig("other", "run", database="OTHER_URL", migrate="m", env={"OTHER_URL": "postgresql://host/db"})
PLAIN = ServiceConfig("plain", "run")


def _config(*services: ServiceConfig) -> ProjectConfig:
    return ProjectConfig("p", services={service.name: service for service in services})


def _build(digest: str, *services: ServiceConfig) -> Build:
    return Build("p", digest, f"{digest}commit", "tree", "env", _config(*services), NOW)


def test_every_proof_comes_before_the_first_backup_and_every_backup_before_the_first_migration() -> None:
    steps = migration.steps(_config(WEB, PLAIN, API, READER, OTHER), _config(WEB, READER))
    names = [step.name for step in steps]
    assert names == [
        *("copy:web", "lint:web", "rehearse:web", "rehearse:api", "old:web", "old:reader"),
        *("new:web", "new:api", "new:reader"),
        *("copy:other", "rehearse:other", "new:other"),
        *("backup:web", "backup:other", "migrate:web", "migrate:api", "migrate:other"),
    ]
    needs = {step.name: step.needs for step in steps}
    assert needs["backup:other"] == tuple(names[:12])
    assert needs["migrate:web"] == ("backup:web", "backup:other")
    assert needs["migrate:api"] == ("migrate:web",)
    assert needs["copy:other"] == ()
    assert next(step for step in steps if step.name == "migrate:web").timeout == WEB.timeout
    assert migration.steps(_config(READER, PLAIN), None) == ()
    assert [step.name for step in migration.steps(_config(OTHER), None)][:3] == names[9:12]


def test_services_share_a_database_by_variable_and_value() -> None:
    elsewhere = replace(READER, name="elsewhere", env={"DATABASE_URL": "sqlite:////tmp/x.db"})
    config = _config(WEB, READER, elsewhere, OTHER)
    found = {database.name: database for database in migration.databases(config)}
    assert {name: database.services for name, database in found.items()} == {
        "web": ("web", "reader"),
        "elsewhere": ("elsewhere",),
        "other": ("other",),
    }
    assert len({database.key for database in found.values()}) == 3
    assert found["web"].key == "DATABASE_URL"
    assert "host" not in found["other"].key
    assert [step.name for step in migration.drops(config)] == ["drop:other"]
    secret = replace(WEB, secrets=("DATABASE_URL",))
    assert [step.name for step in migration.drops(_config(secret, API))] == ["drop:web", "drop:api"]
    chain = _config(READER, WEB, API)
    assert migration.places(chain, "web") == ("reader", "")
    assert migration.places(chain, "reader") == ("reader", "")
    assert migration.places(chain, "api") == ("api", "reader")


def test_checks_and_restores() -> None:
    config = _config(WEB, READER, OTHER)
    assert [step.name for step in migration.checks(config, ("DATABASE_URL",))] == ["copy:web", "new:web", "new:reader"]
    steps = migration.checks(config, ("DATABASE_URL",), restore=True)
    assert [step.name for step in steps][3:] == ["backup:web", "restore:web"]
    assert steps[-1].needs == ("copy:web", "new:web", "new:reader", "backup:web")
    assert migration.checks(config, (), restore=True) == ()


def test_after_a_kill() -> None:
    before, expected, half = Fingerprint("a", "1"), Fingerprint("b", "2"), Fingerprint("b", "1")
    assert resume(before, expected, before) is Resume.AGAIN
    assert resume(before, expected, expected) is Resume.DONE
    assert resume(before, expected, half) is Resume.REHEARSE
    assert resume(before, before, before) is Resume.AGAIN  # where nothing changes, running it twice is no harm


def test_only_a_hold_without_a_break_counts() -> None:
    holds = Holds()
    for now, held in ((0.0, {"a"}), (0.4, {"a", "b"}), (0.5, {"b"}), (0.6, {"a"}), (0.9, {"a"}), (2.0, set())):
        holds.look(now, held)
    assert holds.longest == {"a": 0.4, "b": 0.09999999999999998}
    assert holds.beyond(0.4) is None
    assert holds.beyond(0.3) == "a"


def _change(release: int, before: str, after: str) -> SchemaChange:
    return SchemaChange(release, before, after, f"/backups/{release}", NOW)


def test_a_schema_serves_what_was_seen_on_it() -> None:
    schema = Schema("p/production", "DATABASE_URL", "s1").prove(("b1",))
    schema = schema.migrate(_change(2, "s1", "s2"), ("b1", "b2"))  # expand: old and new
    schema = schema.migrate(_change(3, "s2", "s3"), ("b2", "b3"))  # contract
    assert [schema.serves(build) for build in ("b1", "b2", "b3")] == [False, True, True]
    builds = {name: _build(name, WEB, READER) for name in ("b1", "b2", "b3", "b4")}
    assert unproven((schema,), builds["b1"]) == ("DATABASE_URL",)
    assert unproven((schema,), builds["b2"]) == ()
    assert unproven((), builds["b1"]) == ()
    assert not to_migrate((schema,), builds["b2"])
    assert to_migrate((schema,), builds["b4"])
    assert to_migrate((), builds["b2"])
    assert not to_migrate((), _build("b5", READER))

    way = schema.way_back(1, "b1")
    assert way == _change(3, "s2", "s3")  # not the one before release 2: that would lose more
    assert schema.way_back(1, "never seen") == _change(2, "s1", "s2")
    assert schema.way_back(3, "b3") is None
    back = schema.restore(way, "s2", "/backups/spare", ("b1",))
    assert (back.fingerprint, back.changes, back.spare) == ("s2", (_change(2, "s1", "s2"),), ("/backups/spare",))
    assert [back.serves(build) for build in ("b1", "b2", "b3")] == [True, True, False]


def test_what_is_remembered_is_bounded() -> None:
    schema = Schema("p/production", "DATABASE_URL", "s0")
    for number in range(200):
        schema = schema.migrate(_change(number, f"s{number}", f"s{number + 1}"), (f"b{number}",))
    for number in range(200):
        schema = schema.prove((f"more{number}",))
    assert len(schema.proven) == 20
    assert len(schema.proven["s200"]) == 50
    assert len(schema.changes) == 50
    assert schema.changes[-1].release == 199
    quiet = replace(_change(300, "s200", "s200"), backup="")
    assert schema.migrate(quiet, ("b300",)).changes == schema.changes
    assert schema.migrate(quiet, ("b300",)).serves("b300")
