"""A database through its life: refused where live code would break, expanded, contracted, gone back to. Real ones."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conveyor.cli import lifecycle
from conveyor.config.settings import HOME_NAME
from conveyor.domain import requests
from conveyor.domain.run import Run, RunState, StepState
from conveyor.errors import NotFound, Refused

from .system import System, Traffic

SHOP = Path(__file__).parent / "shop"
CONFIG = """
[project]
name = "shop"

[service.web]
run = "python serve.py {version}"
migrate = "python migrate.py {migration}"
migrate_sql = "cat next.sql"
smoke = "python smoke.py"
database = "DATABASE_URL"
lock_timeout = "{lock}s"
env = {{ {env} }}

[service.web.rollout]
steps = [100]
hold = "100ms"
watch = "100ms"
drain = "100ms"
"""


class Shop(System):
    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self.url = url  # empty: the database that Conveyor makes
        self.config = CONFIG

    def start(self) -> None:
        shutil.copytree(SHOP, self.source, ignore=shutil.ignore_patterns("__pycache__"))
        self.write("next.sql", "ALTER TABLE orders DROP COLUMN total;\n")
        if self.url:
            self.write("requirements.txt", "psycopg[binary]\n")
        self.settings = lifecycle.up(self.root / HOME_NAME)
        self.client = lifecycle.client(self.settings.home)
        self._git("init", "-q", "-b", "main")

    def remote(self, token: str) -> str:
        return f"http://conveyor:{token}@127.0.0.1:{self.settings.api_port}/git/shop.git"

    def release(self, message: str, version: int, migration: str, lock: float = 30) -> str:
        env = f'DATABASE_URL = "{self.url}"' if self.url else ""
        self.write("conveyor.toml", self.config.format(version=version, migration=migration, lock=lock, env=env))
        return self.push(message)

    def refused(self, message: str, version: int, migration: str, lock: float = 30) -> str:
        """Pushes what must not go live; the reason that its rollout was aborted for."""
        after = self.newest()
        self.release(message, version, migration, lock)
        reason: str = self.event(after, "rollout.aborted", seconds=180).data["reason"]
        self.event(after, "rollout.rolled_back", seconds=60)
        return reason

    def number(self) -> int:
        environment = self.environment()
        assert environment is not None
        assert environment.live is not None
        return environment.live.number

    def rollback(self, to: int, **more: bool) -> Run | None:
        """The run that it depended on, once ended, if there was one."""
        said = self.client.rollback("shop", "production", requests.Rollback(to, "a test", **more))
        return self.client.wait(said.run, seconds=180) if said.run else None

    def migration(self, release: int) -> Run:
        return next(run for run in self.client.runs(kind="migrate") if run.params["release"] == release)

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.settings.public_url}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def columns(self) -> set[str]:
        return {column for column, *_ in self.query("SELECT * FROM orders")}

    def query(self, statement: str) -> Any:
        """The description of the answer's columns."""
        if not self.url:
            path = next(iter((self.settings.home / "databases").rglob("*.db")))
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(statement).description
        import psycopg

        with psycopg.connect(self.url) as connection:
            return [(column.name,) for column in connection.execute(statement).description or ()]

    def leftovers(self) -> list[str]:
        """Copies that are still on the server."""
        if not self.url:
            return [str(path) for path in self.settings.work.rglob("*.db")]
        import psycopg

        with psycopg.connect(self.url) as connection:
            return [name for (name,) in connection.execute("SELECT datname FROM pg_database") if "conveyor" in name]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"CONVEYOR_HOME": str(self.settings.home)}
        program = [str(Path(sys.executable).with_name("conveyor")), *words]
        return subprocess.run(program, env=env, capture_output=True, text=True, timeout=180, check=False)

    def kill(self) -> None:
        pid = self._control()
        os.kill(pid, signal.SIGKILL)
        self.wait(lambda: self._control() != pid, "the next control plane", 60)

    def _control(self) -> int:
        found = self.wait(lambda: [p.pid for p in self.client.status().processes if p.name == "control"], "control")
        pid: int = found[0]
        return pid


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    url = ""
    if request.param == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        url = fresh()
    made = Shop(tmp_path, url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(600)
def test_the_life_of_a_database(shop: Shop) -> None:
    commit = shop.release("Version 1", 1, "1")
    shop.wait_live(commit, 180)
    first = shop.number()
    assert shop.ask("/buy/2") == "version 1: 2 orders"
    with Traffic(shop.settings.public_port, clients=2).running() as traffic:
        _bad_migrations(shop)
        assert shop.number() == first
        assert shop.columns() == {"id", "total"}

        commit = shop.release("Expand", 2, "2")
        shop.wait_live(commit, 180)
        second = shop.number()
        assert {step.name.partition(":")[0] for step in shop.migration(second).steps} == {
            *("copy", "lint", "rehearse", "old", "new", "backup", "migrate")
        }
        _contract_while_the_control_plane_is_killed(shop)
        assert shop.columns() == {"id", "total_cents"}
        assert shop.ask("/buy/3") == "version 3: 3 orders"
        _code_alone(shop)
        _back(shop, first, second)
    assert not traffic.bad, traffic.causes
    _restored(shop, first)
    shop.wait(lambda: not shop.leftovers(), f"copies to be removed: {shop.leftovers()}", 60)


def _bad_migrations(shop: Shop) -> None:
    """Each is refused on a copy, and says why."""
    reason = shop.refused("Drop what live code reads", 3, "3")
    assert "fails its smoke test: GET /orders answered 500. It said: " in reason
    assert "(live now, release 1)" in reason
    assert "Expand first" in reason
    assert "(exit code 1): version 2 is broken" in shop.refused("Break half way", 2, "2 --break")
    reason = shop.refused("Hold a lock", 2, "2 --hold 30", lock=1)
    assert f"keeps writers of {'orders' if shop.url else 'any table'} waiting for more than 1 s" in reason


def _contract_while_the_control_plane_is_killed(shop: Shop) -> None:
    commit = shop.release("Contract", 3, "3 --hold 2")

    def migrating() -> bool:
        runs = [run for run in shop.client.status().runs if run.kind == "migrate"]
        return any(run.step("migrate:web").state is StepState.RUNNING for run in runs)

    shop.wait(migrating, "the real migration", 180)
    shop.kill()
    shop.wait_live(commit, 180)
    run = shop.migration(shop.number())
    assert run.state is RunState.SUCCEEDED
    assert run.step("migrate:web").attempt == 1
    if shop.url:
        assert "ban-drop-column" in {finding["rule"] for finding in run.result["lint"]["web"]}
        assert run.result["rehearsal"]["web"]["held"]["orders"] > 1


def _code_alone(shop: Shop) -> None:
    """A push with nothing to migrate: on SQLite that is known, and neither proven again nor backed up."""
    commit = shop.release("Code alone", 3, "3 --linger 0")
    shop.wait_live(commit, 180)
    run = shop.migration(shop.number())
    left_out = {step.name for step in run.steps if step.state is StepState.CACHED}
    assert left_out == (set() if shop.url else {"old:web", "backup:web"})


def _back(shop: Shop, first: int, second: int) -> None:
    """To code that works on today's schema at once; to code that does not, not at all, and the restore is offered."""
    before = shop.number()
    said = shop.command("rollback", "production", "--to", str(first))
    assert said.returncode == 1
    assert "was never seen on today's schema: it is checked on a copy first" in said.stdout
    assert "GET /orders answered 500" in said.stderr
    run = shop.rollback(first)
    assert run is not None
    assert run.state is RunState.FAILED
    assert "cannot come back: on today's schema, web@" in run.error
    assert "GET /orders answered 500" in run.error
    assert f"`conveyor rollback production --to {first} --restore` would bring the database back too" in run.error
    assert "all that was written since is lost" in run.error
    assert shop.number() == before

    after = shop.newest()
    assert shop.rollback(second) is None
    shop.event(after, "rollout.completed")
    assert shop.ask("/orders") == "version 2: 3 orders"
    with pytest.raises(NotFound, match="there is no release"):
        shop.rollback(before)
    with pytest.raises(Refused, match=r"this loses data. DATABASE_URL goes back to what it was .* ago") as caught:
        shop.rollback(first, restore=True)
    assert "--yes" in caught.value.hint


def _restored(shop: Shop, first: int) -> None:
    after = shop.newest()
    run = shop.rollback(first, restore=True, yes=True)
    assert run is not None
    assert run.state is RunState.SUCCEEDED, run.error
    shop.event(after, "rollout.completed")
    assert shop.ask("/orders") == "version 1: 2 orders"
    assert shop.columns() == {"id", "total", "total_cents"}  # before the contraction: version 1 was proven on that
    kept = shop.event(after, "database.restored").data["kept"]
    assert Path(kept).is_file()


@pytest.mark.timeout(600)
def test_a_url_that_is_a_secret_stays_one(postgres: Callable[[], str], tmp_path: Path) -> None:
    """Also where the server takes part, and where a check fails; and no copy is left behind."""
    shop = Shop(tmp_path, postgres().replace("postgres@", "postgres:hunter2-hunter2@"))
    try:
        shop.start()
        url, shop.url = shop.url, ""
        shop.write("requirements.txt", "psycopg[binary]\n")
        shop.config = CONFIG.replace("env = {{ {env} }}", 'secrets = ["DATABASE_URL"] # {env}')
        commit = shop.release("Version 1", 1, "1")
        shop.event(0, "release.waiting", seconds=180)
        shop.client.set_secret("shop", "production", "DATABASE_URL", requests.SetSecret(url))
        shop.wait_live(commit, 180)
        for step in ("rehearse:web", "migrate:web"):
            assert "migrating ***\n" in "".join(shop.client.follow(shop.migration(1).id, step))
        reason = shop.refused("Drop what live code reads", 3, "3")
        assert "fails its smoke test: GET /orders answered 500" in reason
        shop.url = url
        assert shop.columns() == {"id", "total"}
        shop.wait(lambda: not shop.leftovers(), "copies to be removed", 90)
        shop.wait(shop.settled, "rest", 60)
        assert {run.state for run in shop.client.runs(kind="cleanup")} == {RunState.SUCCEEDED}
        found = subprocess.run(
            ["grep", "-rl", "hunter2-hunter2", str(shop.settings.home)], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""
    finally:
        shop.stop()
