"""The steps of a migration as the processes that they are, on real databases, with a real small service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from conveyor.domain import wire
from conveyor.domain.migration import Backup, Migrated, MigrationSpec, Rehearsal, Verb
from conveyor.domain.step import StepError
from conveyor.effects.database import Database, database

SHOP = Path(__file__).parents[1] / "e2e" / "shop"


@dataclass
class Steps:
    """Runs steps as Conveyor does: with a spec, in a folder of the run, with the service's environment."""

    root: Path
    url: str
    number: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def real(self) -> Database:
        return database(self.url, self.root)

    @property
    def copy(self) -> Database:
        return self.real.beside("run-web", self.root / "run")

    def spec(self, verb: Verb, line: str = "", **more: object) -> MigrationSpec:
        (self.root / "run").mkdir(exist_ok=True)
        base = MigrationSpec(
            verb,
            "DATABASE_URL",
            "web",
            7,
            "run-web",
            str(self.root / "run"),
            "release 7 cannot be rolled out",
            line=line,
        )
        return replace(base, **more)  # type: ignore[arg-type]

    def start(self, spec: MigrationSpec) -> tuple[subprocess.Popen[str], Path]:
        self.number += 1
        out = self.root / f"out-{self.number}"
        out.mkdir()
        (self.root / "spec.json").write_bytes(wire.to_json(spec))
        env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DATABASE_URL": self.url} | self.env
        words = [sys.executable, "-m", "conveyor.effects.migration", str(self.root / "spec.json"), str(out)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words, cwd=SHOP, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ), out

    def run(self, verb: Verb, line: str = "", **more: object) -> Path:
        process, out = self.start(self.spec(verb, line, **more))
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return out

    def refused(self, verb: Verb, line: str = "", **more: object) -> StepError:
        process, out = self.start(self.spec(verb, line, **more))
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert (out / "error.json").exists(), said
        return wire.from_json((out / "error.json").read_bytes(), StepError)

    def migrate(self, version: int, *options: str) -> str:
        return " ".join(["python migrate.py", str(version), *options])


@pytest.fixture(params=["sqlite", "postgresql"])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> Steps:
    if request.param == "sqlite":
        made = Steps(tmp_path, f"sqlite:///{tmp_path / 'real.db'}")
    else:
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        made = Steps(tmp_path, fresh())
    made.real.ensure()
    made.run(Verb.COPY)
    made.run(Verb.REHEARSE, made.migrate(1))
    made.run(Verb.MIGRATE, made.migrate(1))
    for path in (tmp_path / "run").glob("*"):
        path.unlink()
    return made


CHECK = {"health": "/healthz", "smoke": "python smoke.py", "start_seconds": 20.0, "where": "on the new schema"}


def test_a_dropped_column_is_refused_and_expand_then_contract_passes(steps: Steps) -> None:
    before = steps.real.fingerprint()
    steps.run(Verb.COPY)
    steps.run(Verb.NEW, "python serve.py 1", who="web@live", **CHECK)
    steps.run(Verb.REHEARSE, steps.migrate(3))  # 1: total; 2: and total_cents; 3: only total_cents
    error = steps.refused(Verb.OLD, "python serve.py 1", who="web@live (live now, release 6)", hint="Expand.", **CHECK)
    assert error.message.startswith(
        "release 7 cannot be rolled out: on the new schema, web@live (live now, release 6) fails its smoke test: "
        "GET /orders answered 500. It said: "
    )
    assert "total" in error.message.partition("It said: ")[2]
    assert error.hint == "Expand."
    steps.run(Verb.COPY)
    for version in (2, 3):
        steps.run(Verb.REHEARSE, steps.migrate(version))
        steps.run(Verb.OLD, f"python serve.py {version - 1}", who="web@live", **CHECK)
        steps.run(Verb.NEW, f"python serve.py {version}", who="web@new", **CHECK)
    assert steps.real.fingerprint() == before
    steps.run(Verb.DROP)
    assert steps.copy.size() == 0


def test_checks_say_what_is_wrong(steps: Steps) -> None:
    steps.run(Verb.COPY)
    check = {**CHECK, "who": "web@new", "start_seconds": 1.0}
    for line, said in (
        ("python serve.py 1 --deaf", "was not healthy after 1 s: nothing listens on $PORT"),
        ("python serve.py 1 --ill", "was not healthy after 1 s: GET /healthz answered 503"),
        ("python -c 'raise SystemExit(\"no such module\")'", "ended with exit code 1 before it was healthy"),
    ):
        assert said in steps.refused(Verb.NEW, line, **check).message
    broken = steps.refused(Verb.REHEARSE, steps.migrate(2, "--break"))
    assert "the migration of web failed on a copy of DATABASE_URL (exit code 1): " in broken.message
    assert "Only a copy" in broken.hint
    steps.env["DATABASE_URL"] = ""
    assert "has no DATABASE_URL" in steps.refused(Verb.COPY).message


def test_a_lock_that_is_held_too_long_is_refused_and_a_short_one_is_told(steps: Steps) -> None:
    steps.run(Verb.COPY)
    error = steps.refused(Verb.REHEARSE, steps.migrate(2, "--hold", "20"), lock_seconds=0.5)
    table = "any table" if steps.real.kind == "sqlite" else "orders"
    assert f"keeps writers of {table} waiting for more than 0.5 s (lock_timeout)" in error.message
    steps.copy.silence()
    out = steps.run(Verb.REHEARSE, steps.migrate(2, "--hold", "0.7"), lock_seconds=30.0)  # on a fresh copy, by itself
    report = wire.from_json((out / "rehearsal.json").read_bytes(), Rehearsal)
    assert report.held[table] >= 0.5
    assert report.after != report.before
    assert not report.unchanged


def test_nothing_to_do_is_known_where_it_can_be(steps: Steps) -> None:
    steps.run(Verb.COPY)
    report = wire.from_json((steps.run(Verb.REHEARSE, steps.migrate(1)) / "rehearsal.json").read_bytes(), Rehearsal)
    assert report.before == report.after
    assert report.unchanged == (steps.real.kind == "sqlite")


def test_a_second_service_begins_with_what_the_first_one_made(steps: Steps) -> None:
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(2))
    second = {"service": "api", "place": "run-api", "source": "run-web"}
    steps.refused(Verb.REHEARSE, steps.migrate(3, "--break"), **second)
    out = steps.run(Verb.REHEARSE, steps.migrate(3), **second)  # again, alone
    report = wire.from_json((out / "rehearsal.json").read_bytes(), Rehearsal)
    assert report.before == steps.copy.fingerprint() != report.after
    steps.run(Verb.NEW, "python serve.py 3", who="web@new", **{**CHECK, "place": "run-api"})
    steps.run(Verb.DROP, place="run-api")
    assert steps.real.beside("run-api", steps.root / "run").size() == 0


def test_backup_migration_and_restore(steps: Steps) -> None:
    before = steps.real.fingerprint()
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(2))
    out = steps.run(Verb.BACKUP, backup=str(steps.root / "backups" / "before-7"))
    made = wire.from_json((out / "backup.json").read_bytes(), Backup)
    assert made.bytes > 0
    done = wire.from_json((steps.run(Verb.MIGRATE, steps.migrate(2)) / "migrated.json").read_bytes(), Migrated)
    assert (done.before, done.after) == (before, steps.copy.fingerprint())
    assert steps.real.fingerprint() == done.after
    steps.run(Verb.COPY, backup=made.path)
    assert steps.copy.fingerprint() == before
    back = wire.from_json((steps.run(Verb.RESTORE, backup=made.path) / "migrated.json").read_bytes(), Migrated)
    assert (back.before, back.after) == (done.after, before)
    assert steps.real.fingerprint() == before


def _killed_in(steps: Steps, line: str) -> None:
    """The real migration is killed with its whole group, as a lost job is, once it holds what it works on."""
    process, _ = steps.start(steps.spec(Verb.MIGRATE, line))
    reached = steps.root / "reached"
    deadline = time.monotonic() + 30
    while not reached.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    reached.unlink()


def test_killed_before_its_commit_it_runs_again(steps: Steps) -> None:
    before = steps.real.fingerprint()
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(2))
    steps.env["REACHED"] = str(steps.root / "reached")
    _killed_in(steps, steps.migrate(2, "--hold", "60"))
    out = steps.run(Verb.MIGRATE, steps.migrate(2))
    done = wire.from_json((out / "migrated.json").read_bytes(), Migrated)
    assert (done.before, done.after) == (before, steps.copy.fingerprint())


def test_killed_after_its_commit_it_does_not_run_again(steps: Steps) -> None:
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(2))
    steps.env["REACHED"] = str(steps.root / "reached")
    _killed_in(steps, steps.migrate(2, "--linger", "60"))
    expected = steps.real.fingerprint()
    out = steps.run(Verb.MIGRATE, "echo it must not run; exit 1")
    assert wire.from_json((out / "migrated.json").read_bytes(), Migrated).after == expected == steps.copy.fingerprint()


def test_killed_half_way_it_goes_on_only_where_that_works_on_a_copy(steps: Steps) -> None:
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(3))
    steps.env["REACHED"] = str(steps.root / "reached")
    _killed_in(steps, f"{steps.migrate(2, '--linger', '60')} && {steps.migrate(3)}")
    half = steps.real.fingerprint()
    error = steps.refused(
        Verb.MIGRATE, "python migrate.py 3 --blind"
    )  # which expects version 1, as a plain script does
    assert "was killed half way, and does not go on from there" in error.message
    assert steps.real.fingerprint() == half
    out = steps.run(Verb.MIGRATE, steps.migrate(3))
    assert wire.from_json((out / "migrated.json").read_bytes(), Migrated).after == steps.copy.fingerprint()
    assert steps.real.fingerprint() == steps.copy.fingerprint()


def test_a_failure_on_the_real_database_says_how_it_left_it(steps: Steps) -> None:
    steps.run(Verb.COPY)
    steps.run(Verb.REHEARSE, steps.migrate(2))
    error = steps.refused(Verb.MIGRATE, steps.migrate(2, "--break"))
    assert "failed on the real database, after it had passed on a copy (exit code 1)" in error.message
    assert error.hint == "The schema is as it was."


def test_the_real_migration_waits_no_longer_for_a_lock_than_it_may(postgres: Callable[[], str], tmp_path: Path) -> None:
    """PostgreSQL: a reader in a long transaction keeps it waiting; it gives up, tries again, and gets through."""
    import psycopg

    steps = Steps(tmp_path, postgres())
    for version in (1, 2):
        if version == 2:
            for path in (tmp_path / "run").glob("*"):
                path.unlink()
        steps.run(Verb.COPY)
        steps.run(Verb.REHEARSE, steps.migrate(version))
        if version == 1:
            steps.run(Verb.MIGRATE, steps.migrate(1))
    with psycopg.connect(steps.url) as reader:
        reader.execute("SELECT * FROM orders")
        process, _ = steps.start(steps.spec(Verb.MIGRATE, steps.migrate(2), lock_seconds=0.3))
        assert process.stdout
        said = ""
        while "more tries" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
    said += process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert "it could not get its lock within 0.3 s; 3 more tries" in said
