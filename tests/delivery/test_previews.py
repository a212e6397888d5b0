"""Previews over real records and databases, with a stepped clock: how they begin, what they are given, how they end."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from conveyor.config.settings import Settings, make_folders
from conveyor.delivery import environments, preview_setup, previews
from conveyor.delivery.preview_setup import PreviewRecipe
from conveyor.delivery.previews import Previews
from conveyor.delivery.releases import Releases
from conveyor.delivery.targets import database_path
from conveyor.domain.environment import placed
from conveyor.domain.project import EnvironmentConfig, PreviewConfig, ProjectConfig, ServiceConfig
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.run import Run, RunState
from conveyor.domain.state import Instance, Project
from conveyor.effects.clock import SteppedClock
from conveyor.engine.context import Context
from conveyor.errors import InputRejected
from conveyor.stores import collections as c
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
BRANCH, NAME = "feature/x", "preview-feature-x"


@dataclass
class Office:
    context: Context
    clock: SteppedClock
    previews: Previews
    releases: Releases

    def push(self, branch: str, digest: str, config: ProjectConfig) -> Build:
        """A push whose build passed."""
        context = self.context
        build = Build("shop", digest, f"{digest}c" * 8, "tree", "env", config, self.clock.now(), branch=branch)
        with context.transaction() as tx:
            project = tx.get(c.PROJECTS, "shop") or Project("shop", START)
            tx.put(c.PROJECTS, replace(project, heads={**project.heads, branch: build.commit}))
            if environments.wanted(tx, "shop", branch, config):
                previews.pushed(context, tx, "shop", branch, config)
                tx.put(c.BUILDS, build)
                environments.offer(tx, build)
        return build

    def environment(self, name: str = NAME) -> Environment | None:
        with self.context.records.read() as tx:
            return tx.get(c.ENVIRONMENTS, f"shop/{name}")

    def setup_run(self) -> Run:
        environment = self.environment()
        assert environment is not None
        with self.context.records.read() as tx:
            return tx.need(c.RUNS, environment.setup)

    def work(self, run: Run) -> None:
        """What the engine does with a run: the commands of its steps, one after the other."""
        recipe = PreviewRecipe(self.context)
        for step in run.steps:
            command = recipe.prepare(run, step, self.context.settings.work)
            done = subprocess.run(command.argv, cwd=command.cwd, env=command.env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        self.put(replace(run, state=RunState.SUCCEEDED))

    def put(self, run: Run) -> None:
        with self.context.transaction() as tx:
            tx.put(c.RUNS, run)

    def events(self, type_: str) -> list[dict[str, object]]:
        with self.context.records.read() as tx:
            return [event.data for event in tx.events(types=(type_,))]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    settings = Settings(tmp_path, public_port=8001, api_port=8000)
    make_folders(settings)
    (settings.builds / "tree").mkdir()
    ids = (f"{number:012x}" for number in itertools.count(1))
    clock = SteppedClock(START)
    records = Records(f"sqlite:///{settings.database}")
    context = Context(settings, records, Objects(str(settings.objects), tmp_path / "c"), clock, lambda: next(ids), "t")
    assert context.renew()
    return Office(context, clock, Previews(context), Releases(context))


def _config(*branches: str, database: str = "copy", **env: str) -> ProjectConfig:
    web = ServiceConfig("web", "run", database="DATABASE_URL", env=env)
    preview = PreviewConfig(branches or ("feature/*",), timedelta(hours=2), database)
    return ProjectConfig(
        "shop", services={"web": web}, environments={"production": EnvironmentConfig("production")}, preview=preview
    )


def test_only_the_trunk_says_who_gets_what(office: Office) -> None:
    usurper = replace(_config(), environments={"production": EnvironmentConfig("production", BRANCH)})
    office.push("main", "a", _config())
    office.push(BRANCH, "b", usurper)
    office.push("other", "c", replace(usurper, environments={"production": EnvironmentConfig("production", "other")}))
    production, preview = office.environment("production"), office.environment()
    assert production is not None
    assert preview is not None
    assert production.builds == ("a",)
    assert preview.builds == ("b",)
    with office.context.records.read() as tx:
        assert tx.need(c.PROJECTS, "shop").definition == "a"
        assert tx.get(c.BUILDS, "shop/c") is None
    # The same content on a branch rules nothing either; the trunk may name another trunk, which rules from then on.
    office.push(BRANCH, "a", _config())
    office.push("main", "d", usurper)
    office.push(BRANCH, "e", replace(usurper, preview=PreviewConfig()))
    production = office.environment("production")
    assert production is not None
    assert production.builds == ("e", "a")
    with office.context.records.read() as tx:
        project = tx.need(c.PROJECTS, "shop")
    assert (project.trunk, project.definition) == (BRANCH, "e")


def test_records_from_before_builds_were_meant_for_environments_go_on(office: Office) -> None:
    context = office.context
    with context.transaction() as tx:
        tx.put(c.PROJECTS, Project("shop", START, {"main": "a"}))
        tx.put(c.BUILDS, Build("shop", "a", "ac" * 8, "tree", "env", _config(), START))
        tx.put(c.RELEASES, Release("shop", "production", 1, "a", "ac" * 8, {}, "first", START))
        tx.put(c.ENVIRONMENTS, Environment("shop", "production", live=1, releases=1))
    office.releases.turn()
    assert office.environment("production") == Environment("shop", "production", live=1, releases=1)
    office.push(BRANCH, "b", _config())
    office.push("main", "d", _config())
    office.releases.turn()
    production = office.environment("production")
    assert production is not None
    assert (production.releases, production.rollout, production.builds) == (2, "shop/production/2", ("d",))


def test_two_branches_never_share_a_preview(office: Office) -> None:
    office.push("main", "a", _config())
    office.push("feature/x", "b", _config())
    office.push("feature/X", "c", _config())
    with office.context.records.read() as tx:
        found = {e.branch: e for e in tx.find(c.ENVIRONMENTS, where={"project": "shop"}) if e.branch}
    assert found["feature/x"].name == NAME
    assert found["feature/X"].name.startswith(f"{NAME}-")
    assert (found["feature/x"].builds, found["feature/X"].builds) == (("b",), ("c",))
    # When the first is gone, the second keeps its name.
    with office.context.transaction() as tx:
        tx.delete(c.ENVIRONMENTS, f"shop/{NAME}")
    office.push("feature/X", "e", _config())
    assert office.environment() is None


def test_a_push_saves_a_preview_that_was_about_to_end(office: Office) -> None:
    office.push("main", "a", replace(_config(), services={"web": ServiceConfig("web", "run")}))
    build = office.push(BRANCH, "b", replace(_config(), services={"web": ServiceConfig("web", "run")}))
    office.releases.turn()
    begun = office.environment()
    assert begun is not None
    assert begun.rollout is not None
    with office.context.transaction() as tx:
        previews.remove(tx, "shop", NAME, "a mistake")
    office.push(BRANCH, "e", build.config)
    office.previews.turn()
    saved = office.environment()
    assert saved is not None
    assert (saved.ending, saved.rollout, saved.builds) == ("", begun.rollout, ("e", "b"))


def test_a_sqlite_preview_begins_with_a_copy_once_and_leaves_nothing(office: Office) -> None:
    path = database_path(office.context.settings, "shop/production", "DATABASE_URL")
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as production, production:
        production.execute("CREATE TABLE orders AS SELECT 7 AS n")
    office.push("main", "a", _config())
    office.push(BRANCH, "b", _config())
    office.releases.turn()
    waiting = office.environment()
    assert waiting is not None
    assert waiting.rollout is None
    assert waiting.waiting == "its databases are being made"
    office.work(office.setup_run())
    office.releases.turn()
    begun = office.environment()
    assert begun is not None
    assert begun.rollout is not None
    own = database_path(office.context.settings, f"shop/{NAME}", "DATABASE_URL")
    with closing(sqlite3.connect(own)) as copy, copy:
        assert copy.execute("SELECT n FROM orders").fetchall() == [(7,)]
        copy.execute("DELETE FROM orders")
    with closing(sqlite3.connect(path)) as production:
        assert production.execute("SELECT n FROM orders").fetchall() == [(7,)]

    # It lives on with each push, and is not copied again.
    office.clock.step(timedelta(hours=1, minutes=59))
    office.push(BRANCH, "e", _config())
    office.clock.step(timedelta(hours=1, minutes=59))
    office.previews.turn()
    alive = office.environment()
    assert alive is not None
    assert not alive.ending
    assert alive.setup == waiting.setup

    with office.context.transaction() as tx:
        instance = Instance("i", f"shop/{NAME}/service.web", "cluster", 0, 9000, START)
        tx.put(c.INSTANCES, instance)
    office.clock.step(timedelta(minutes=2))
    for _ in range(4):
        office.previews.turn()
        office.releases.turn()
    ending = office.environment()
    assert ending is not None
    assert (ending.live, ending.rollout) == (None, None)
    assert own.exists()  # as long as a process of it runs
    with office.context.transaction() as tx:
        tx.delete(c.INSTANCES, "i")
    office.previews.turn()
    assert office.environment() is None
    assert not own.parent.exists()
    assert path.exists()
    with office.context.records.read() as tx:
        assert tx.find(c.RELEASES, where={"environment": f"shop/{NAME}"}) == []
        assert tx.find(c.ROLLOUTS, where={"environment": f"shop/{NAME}"}) == []
    assert "before it expired" in str(office.events("environment.ended")[0]["reason"])


def test_a_postgresql_preview_has_a_database_beside_production_s(office: Office, postgres: Callable[[], str]) -> None:
    url = postgres()
    with psycopg.connect(url) as production:
        production.execute("CREATE TABLE orders AS SELECT 7 AS n")
    config = _config(DATABASE_URL=url)
    office.push("main", "a", config)
    build = office.push(BRANCH, "b", config)
    office.releases.turn()
    office.work(office.setup_run())
    own = placed(build, NAME).config.services["web"].env["DATABASE_URL"]
    assert own == f"{url}_preview_feature_x"
    with psycopg.connect(own) as copy:
        assert copy.execute("SELECT n FROM orders").fetchall() == [(7,)]
        copy.execute("DELETE FROM orders")
    with psycopg.connect(url) as production:
        assert production.execute("SELECT n FROM orders").fetchall() == [(7,)]
    with office.context.transaction() as tx:
        previews.remove(tx, "shop", NAME, "seen enough")
    for _ in range(3):
        office.previews.turn()
    dropping = office.setup_run()
    assert [step.name for step in dropping.steps] == ["drop:DATABASE_URL"]
    office.work(dropping)
    office.previews.turn()
    assert office.environment() is None
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(own)
    psycopg.connect(url).close()


def test_an_empty_database_and_one_that_cannot_be_copied(office: Office) -> None:
    path = database_path(office.context.settings, "shop/production", "DATABASE_URL")
    path.parent.mkdir(parents=True)
    sqlite3.connect(path).execute("CREATE TABLE orders (n)").connection.close()
    office.push("main", "a", _config())
    office.push(BRANCH, "b", _config(database="empty"))
    office.releases.turn()
    office.work(office.setup_run())
    assert not database_path(office.context.settings, f"shop/{NAME}", "DATABASE_URL").exists()
    office.push("feature/y", "d", _config(DATABASE_URL="mysql://db/shop"))
    office.releases.turn()
    environment = office.environment("preview-feature-y")
    assert environment is not None
    with office.context.records.read() as tx:
        run = tx.need(c.RUNS, environment.setup)
    with pytest.raises(InputRejected) as said:
        PreviewRecipe(office.context).prepare(run, run.steps[0], office.context.settings.work)
    assert "preview" in said.value.hint
    office.put(replace(run, state=RunState.FAILED, error="it cannot be copied"))
    for _ in range(2):
        office.releases.turn()
    environment = office.environment("preview-feature-y")
    assert environment is not None
    assert environment.waiting == "its databases could not be made: it cannot be copied"
    assert environment.setup == run.id
    # The next push tries again.
    fixed = office.push("feature/y", "e", _config())
    with office.context.records.read() as tx:
        assert preview_setup.setup(tx, replace(environment, builds=("e", "d")), fixed).start
