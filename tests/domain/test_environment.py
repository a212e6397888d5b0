"""Which branch rules, what a branch's preview is called, and that a preview's databases are never production's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.environment import database_url, followers, hosts, placed, previewed, trunk
from conveyor.domain.preview import is_preview, names, own_url
from conveyor.domain.project import (
    EnvironmentConfig,
    PreviewConfig,
    ProjectConfig,
    RolloutConfig,
    ServiceConfig,
    WorkerConfig,
)
from conveyor.domain.release import Build

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_PREVIEW = PreviewConfig()
SERVER = "postgresql://user:secret@db.example:5432"


def _config(*environments: EnvironmentConfig, preview: PreviewConfig = NO_PREVIEW, **env: str) -> ProjectConfig:
    web = ServiceConfig("web", "run", database="DATABASE_URL", env=env)
    mail = WorkerConfig("mail", "run", database="DATABASE_URL", env=env)
    declared = {each.name: each for each in environments or (EnvironmentConfig("production"),)}
    return ProjectConfig("p", services={"web": web}, workers={"mail": mail}, environments=declared, preview=preview)


def _placed(config: ProjectConfig, name: str) -> list[dict[str, str]]:
    config = placed(Build("p", "d", "c", "tree", "env", config, NOW), name).config
    return [config.services["web"].env, config.workers["mail"].env]


def test_the_trunk_is_the_branch_that_reaches_production() -> None:
    assert trunk(_config()) == "main"
    staging = EnvironmentConfig("staging", "develop")
    assert trunk(_config(staging, EnvironmentConfig("production", source="staging"))) == "develop"
    assert trunk(_config(staging, EnvironmentConfig("production", "release"))) == "release"
    assert trunk(_config(staging)) == "develop"
    circle = EnvironmentConfig("production", "main", "staging"), EnvironmentConfig("staging", "x", "production")
    assert trunk(_config(*circle)) in ("main", "x")


def test_an_environment_with_from_follows_no_branch() -> None:
    staging, production = EnvironmentConfig("staging"), EnvironmentConfig("production", source="staging")
    config = _config(staging, production, preview=PreviewConfig(("feature/*", "*")))
    assert followers(config, "main") == [staging]
    assert not previewed(config, "main")
    assert previewed(config, "feature/x")
    assert not previewed(_config(staging), "feature/x")


def test_production_of_the_first_project_has_the_plain_address() -> None:
    assert hosts("p", "production", first=True) == ("*", "production.p.localhost")
    assert hosts("p", "staging", first=True) == ("staging.p.localhost",)
    assert hosts("q", "production", first=False) == ("production.q.localhost",)


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_a_preview_s_name_is_one_label_of_a_host_name(branch: str, other: str) -> None:
    for name in names(branch):
        assert re.fullmatch(r"preview-[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
        assert len(name) <= 40
        assert is_preview(name)
    assert branch == other or names(branch)[1] != names(other)[1]


def test_branches_are_named_as_people_would() -> None:
    assert names("feature/New_Checkout")[0] == "preview-feature-new-checkout"
    assert names("feature/a-b")[0] == names("feature/a/b")[0]


def test_variables_of_an_environment_stand_over_those_of_a_service() -> None:
    production = EnvironmentConfig("production", env={"BANNER": "sale"})
    config = _config(production, EnvironmentConfig("qa"), preview=PreviewConfig(env={"BANNER": "try"}), BANNER="none")
    assert [env["BANNER"] for env in _placed(config, "production")] == ["sale", "sale"]
    assert [env["BANNER"] for env in _placed(config, "qa")] == ["none", "none"]
    assert [env["BANNER"] for env in _placed(config, "preview-x")] == ["try", "try"]
    assert [env["BANNER"] for env in _placed(config, "vanished")] == ["none", "none"]


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (f"{SERVER}/shop?sslmode=require", f"{SERVER}/shop_preview_x?sslmode=require"),
        ("postgresql+psycopg:///shop", "postgresql+psycopg:///shop_preview_x"),
        ("postgres://db", None),
        ("sqlite:////var/shop.db", None),
        ("mysql://db/shop", None),
    ],
)
def test_a_preview_never_has_production_s_database(url: str, own: str | None) -> None:
    """Where none can be put beside it, the variable is left out, and Conveyor makes one."""
    assert own_url(url, "preview-x") == own
    in_service = _config(DATABASE_URL=url)
    in_environment = _config(EnvironmentConfig("production", env={"DATABASE_URL": url}))
    for config in (in_service, in_environment):
        assert database_url(config, config.services["web"]) == url
        assert [env.get("DATABASE_URL") for env in _placed(config, "preview-x")] == [own, own]
        assert [env.get("DATABASE_URL") for env in _placed(config, "production")] == [url, url]
    given_one = _config(preview=PreviewConfig(env={"DATABASE_URL": "mysql://test/own"}), DATABASE_URL=url)
    assert [env["DATABASE_URL"] for env in _placed(given_one, "preview-x")] == ["mysql://test/own"] * 2


def test_a_preview_has_no_canary_and_is_not_watched() -> None:
    rollout = RolloutConfig(steps=(5, 50, 100), hold=timedelta(minutes=9), start_timeout=timedelta(seconds=77))
    config = _config()
    config.services["web"] = ServiceConfig("web", "run", rollout=rollout)
    build = Build("p", "d", "c", "tree", "env", config, NOW)
    quick = placed(build, "preview-x").config.services["web"].rollout
    assert (quick.steps, quick.hold, quick.watch) == ((100,), timedelta(0), timedelta(0))
    assert quick.start_timeout == rollout.start_timeout
    assert placed(build, "production").config.services["web"].rollout == rollout


@given(st.text("abcdefgh_", min_size=1, max_size=70), st.text("abc/", min_size=1, max_size=60))
def test_a_preview_s_database_has_a_name_that_postgresql_keeps(database: str, branch: str) -> None:
    for name in names(branch):
        own = own_url(f"{SERVER}/{database}", name)
        assert own is not None
        made = own.rpartition("/")[2]
        assert len(made) <= 63
        assert made != database
