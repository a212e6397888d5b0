"""Looks at real folders: what is new, at what cost, and names and links that mean harm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl
import pytest

from conveyor.effects import folders
from conveyor.effects.folders import Pattern


def age(folder: Path) -> None:
    """As if nothing had changed in it for a while."""
    for path, _, _ in os.walk(folder):
        os.utime(path, (time.time() - 60,) * 2)


def names(pattern: Pattern, known: dict[str, str] | None = None, *, full: bool = True) -> list[str]:
    return sorted(entry.name for entry in pattern.look(known or {}, full=full).changed)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.csv", ["in/a.csv"]),
        ("in/*", ["in/a.csv", "in/b.txt"]),
        ("in/**/*.csv", ["in/a.csv", "in/x/c.csv", "in/x/y/d.csv"]),
        ("**/d.csv", ["in/x/y/d.csv"]),
        ("in/*/*.csv", ["in/x/c.csv"]),
        ("in/a.csv", ["in/a.csv"]),
        ("in/**", ["in/a.csv", "in/b.txt", "in/x/c.csv", "in/x/y/d.csv"]),
        ("none/*.csv", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("in/a.csv", "in/b.txt", "in/.hidden.csv", "in/x/c.csv", "in/x/y/d.csv", "in/.git/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert names(Pattern(tmp_path, pattern)) == found


def test_a_folder_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "day").mkdir(parents=True)
    for number in range(50):
        (tmp_path / "in" / "day" / f"{number}.csv").write_text("1")
    age(tmp_path)
    pattern = Pattern(tmp_path, "in/*/*.csv")
    known = {entry.name: entry.stamp for entry in pattern.look({}, full=False).changed}
    assert len(known) == 50
    read: list[str] = []
    scan = os.scandir

    def counted(folder: str) -> object:
        read.append(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", counted)
    assert names(pattern, known, full=False) == []
    assert read == []
    (tmp_path / "in" / "day" / "new.csv").write_text("1")
    (tmp_path / "in" / "day" / "1.csv").rename(tmp_path / "in" / "day" / "one.csv")
    assert names(pattern, known, full=False) == ["in/day/new.csv", "in/day/one.csv"]
    (tmp_path / "in" / "other").mkdir()
    (tmp_path / "in" / "other" / "x.csv").write_text("1")
    assert "in/other/x.csv" in names(pattern, known, full=False)
    age(tmp_path)
    pattern.look(known, full=False)
    (tmp_path / "in" / "day" / "2.csv").write_text("changed in place")
    age(tmp_path)
    assert names(pattern, known, full=True) == ["in/day/2.csv", "in/day/new.csv", "in/day/one.csv", "in/other/x.csv"]


def test_links_do_not_lead_out_and_loops_end(tmp_path: Path) -> None:
    watched, outside = tmp_path / "in", tmp_path / "outside"
    watched.mkdir()
    outside.mkdir()
    (outside / "secret.csv").write_text("1")
    (watched / "real.csv").write_text("1")
    (watched / "good.csv").symlink_to("real.csv")
    (watched / "out.csv").symlink_to(outside / "secret.csv")
    (watched / "up.csv").symlink_to("../outside/secret.csv")
    (watched / "loop.csv").symlink_to("loop.csv")
    (watched / "gone.csv").symlink_to("nothing")
    (watched / "folder").symlink_to(outside)
    (watched / "round").symlink_to(".")
    os.mkfifo(watched / "pipe.csv")
    found = {entry.name: entry.problem for entry in Pattern(tmp_path, "in/**/*.csv").look({}, full=True).changed}
    assert found.pop("in/real.csv") == found.pop("in/good.csv") == ""
    assert found.pop("in/out.csv") == found.pop("in/up.csv") == "it is a link out of the watched folder"
    assert found.pop("in/loop.csv").startswith("it is a link that leads nowhere: Too many levels")
    assert found.pop("in/gone.csv").startswith("it is a link that leads nowhere: No such file")
    assert found.pop("in/pipe.csv") == "it is not a regular file"
    assert found == {}
    (tmp_path / "linked").symlink_to(watched)
    assert "linked/good.csv" in names(Pattern(tmp_path, "linked/*.csv"))  # the watched folder itself may be a link


def test_names_that_are_no_text_and_paths_too_long(tmp_path: Path) -> None:
    watched = tmp_path / "in"
    watched.mkdir()
    strange = [b"caf\xe9.csv", b"two\nlines.csv", "漢字.csv".encode(), b"a" * 251 + b".csv"]
    for name in strange:
        (watched / os.fsdecode(name)).write_text("1")
    found = Pattern(tmp_path, "in/*.csv").look({}, full=True).changed
    told = {entry.file: Path(entry.path).read_text() for entry in found}
    assert told == dict.fromkeys(["caf\\xe9.csv", "two\\x0alines.csv", "漢字.csv", "a" * 251 + ".csv"], "1")
    deep = os.open(watched, os.O_RDONLY)
    for _ in range(40):  # 40 x 120 letters: a path that no system call takes whole
        os.mkdir("d" * 120, dir_fd=deep)
        below = os.open("d" * 120, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(os.open("x.csv", os.O_WRONLY | os.O_CREAT, dir_fd=deep))
    os.close(deep)
    assert len(Pattern(tmp_path, "in/**/*.csv").look({}, full=True).changed) == len(strange)


def test_who_has_a_file_open_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("1")
        file.flush()
        assert folders.held(str(path)) is True
        with path.open():
            assert folders.held(str(path)) is True
    with path.open():
        assert folders.held(str(path)) is False


def test_where_a_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    assert folders.whole(str(path), "a.parquet") is True
    raw = path.read_bytes()
    for end in (0, 3, 8, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:end])
        assert folders.whole(str(path), "a.parquet") is False
    assert folders.whole(str(path), "a.csv") is None
    path.write_bytes(b"")
    assert folders.whole(str(path), "a.csv") is False
