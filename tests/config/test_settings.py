"""Settings are found once and then kept; the folder's layout and its guards."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path

import pytest

from conveyor.config.settings import HOME_NAME, find_home, load_settings, settle
from conveyor.errors import ConfigInvalid, NotFound


def test_ports_are_found_once_and_kept(tmp_path: Path) -> None:
    home = tmp_path / HOME_NAME
    with pytest.raises(NotFound, match="no Conveyor in"):
        load_settings(home)
    ports = iter([4001, 4001, 4002])
    first = settle(home, {}, lambda host: next(ports))
    assert (first.public_port, first.api_port, first.host) == (4001, 4002, "127.0.0.1")
    assert load_settings(home) == first
    assert settle(home, {}, lambda host: next(ports)) == first
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert all(folder.is_dir() for folder in first.folders())


def test_the_environment_wins_and_is_checked(tmp_path: Path) -> None:
    counter = itertools.count(5000)
    home = tmp_path / HOME_NAME
    settle(home, {}, lambda host: next(counter))
    changed = settle(home, {"CONVEYOR_PUBLIC_PORT": "8080", "CONVEYOR_HOST": "0.0.0.0"}, lambda host: next(counter))
    assert changed.public_url == "http://0.0.0.0:8080"
    assert load_settings(home) == changed
    with pytest.raises(ConfigInvalid, match="public_port: expected an integer, found the string"):
        settle(home, {"CONVEYOR_PUBLIC_PORT": "http"}, lambda host: next(counter))
    with pytest.raises(ConfigInvalid, match="api_port: expected a port from 1 to 65535, found 70000"):
        settle(home, {"CONVEYOR_API_PORT": "70000"}, lambda host: next(counter))
    assert load_settings(home) == changed
    more = {"CONVEYOR_ROWS_BACKLOG_MB": "64", "CONVEYOR_OPENLINEAGE_URL": "file:///tmp/lineage.ndjson"}
    changed = settle(home, more, lambda host: next(counter))
    assert (changed.rows_backlog_mb, changed.openlineage_url) == (64, "file:///tmp/lineage.ndjson")
    for wrong, said in (("0", "must be at least 1"), ("much", "expected an integer")):
        with pytest.raises(ConfigInvalid, match=f"rows_backlog_mb: {said}"):
            settle(home, {"CONVEYOR_ROWS_BACKLOG_MB": wrong}, lambda host: next(counter))
    with pytest.raises(ConfigInvalid, match="openlineage_url: expected http"):
        settle(home, {"CONVEYOR_OPENLINEAGE_URL": "marquez:5000"}, lambda host: next(counter))


@pytest.mark.parametrize("damage", ["", "[]", '{"public_port": "x"}', '{"colour": 1}', "\xff"])
def test_damaged_settings_are_told(tmp_path: Path, damage: str) -> None:
    (tmp_path / "settings.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(ConfigInvalid, match=r"settings\.json has 1 problem"):
        load_settings(tmp_path)


def test_the_home_is_found_from_below(tmp_path: Path) -> None:
    (tmp_path / HOME_NAME).mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_home(below, {}) == tmp_path / HOME_NAME
    assert find_home(below, {"CONVEYOR_HOME": str(tmp_path / "else")}) == tmp_path / "else"
