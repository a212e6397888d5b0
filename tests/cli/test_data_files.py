"""`conveyor data` on files, as it is typed: the manual's commands, its short way, its words and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    here = tmp_path / "work"
    for name in ("images/cats/1.bin", "images/cats/2.bin", "images/dogs/1.bin", "day1.csv", "day2.csv"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(f"content of {name}\n" * 50)
    return here


def data(place: Path, *words: str, code: int = 0) -> str:
    command = [str(Path(sys.executable).with_name("conveyor")), "data", *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CONVEYOR_")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_manual_can_be_typed_as_it_stands(place: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    script = "".join(re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    assert script.count("conveyor data") > 20
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "old" / "cats" / "1.bin").read_bytes() == (place / "images" / "cats" / "1.bin").read_bytes()


def test_the_short_way_says_what_the_whole_command_line_says(place: Path) -> None:
    """Without options a command is carried out by `cli.quick`; an option sends it to Typer."""
    said = data(place, "add", "images", "images")
    assert said.startswith("images v1: 3 files, 4.3 kB\nThe store grew by ")
    assert data(place, "status", "images") == data(place, "status", "images", "--all")
    (place / "images" / "new").write_text("x")
    assert "added    new" in data(place, "status", code=1)
    assert json.loads(data(place, "status", "--json", code=1))[0]["added"] == ["new"]
    assert "nothing changed" not in data(place, "add", "images")
    assert "nothing changed since v2" in data(place, "add", "images", "--reason", "again")
    assert "1 added, 0 changed, 0 deleted" in data(place, "diff", "images@v1")
    log = json.loads(data(place, "log", "images", "--json"))
    assert [row["version"]["version"] for row in log] == [2, 1]


def test_what_cannot_be_done_is_told_with_what_to_do(place: Path) -> None:
    assert "No folder here is a dataset yet" in data(place, "status")
    for words, told in (
        (("checkout", "nothing"), "there is no dataset of files 'nothing'"),
        (("add", "images", "nowhere"), "there is no"),
        (("add", "../images", "images"), "does not name a version"),
        (("push", "images"), "no dataset of files"),
        (("status", "images"), "no folder here is known to be images"),
    ):
        said = data(place, *words, code=1)
        assert said.startswith("error: ")
        assert told in said
        assert len(said.splitlines()) == 2  # what happened, and what to do next
    data(place, "add", "images", "images")
    assert "no remote is known yet" in data(place, "push", "images", code=1)
    assert "say which version" in data(place, "rm", "images", code=1)
    (place / "images" / "cats" / "1.bin").write_text("mine")
    assert "would be overwritten: cats/1.bin" in data(place, "checkout", "images", code=1)
    assert (place / "images" / "cats" / "1.bin").read_text() == "mine"


def test_a_declared_table_is_still_a_table(place: Path) -> None:
    (place / "conveyor.toml").write_text('[project]\nname = "shop"\n\n[data.sales]\nwatch = "incoming/*.csv"\n')
    assert "There is no Conveyor" in data(place, "add", "sales", "day1.csv", code=1)
    assert data(place, "add", "images", "images").startswith("images v1")
    assert (place / ".conveyor" / "data" / "head" / "shop" / "images").exists()


def test_what_was_there_before_it_was_declared_is_not_added_to_unseen(place: Path) -> None:
    data(place, "add", "images", "images")
    (place / "conveyor.toml").write_text('[project]\nname = "shop"\n[data.images]\nkind = "files"\n')
    assert "--project shop, whose trainings see it" in data(place, "add", "images", "images", code=1)
    assert data(place, "add", "images", "images", "--project", "shop").startswith("images v1: 3 files")
    assert "nothing changed since v1" in data(place, "add", "images", "images", "--project", "default")


def test_a_slip_of_the_pen_makes_no_dataset(place: Path) -> None:
    (place / "conveyor.toml").write_text(
        '[project]\nname = "shop"\n[data.transactions]\n[data.photos]\nkind = "files"\n'
    )
    for slip, near in (("transctions", "transactions"), ("photo", "photos")):
        said = data(place, "add", slip, "day1.csv", code=1)
        assert f"there is no dataset '{slip}' yet, and a project declares '{near}'" in said
        assert "--new" in said
    assert not (place / ".conveyor" / "data" / "head").exists()
    assert data(place, "add", "photos", "images").startswith("photos v1: 3 files")
    assert data(place, "add", "transctions", "day1.csv", "--new").startswith("transctions v1")
    assert data(place, "add", "transctions", "day2.csv").startswith("transctions v2")  # it is there now
