"""Watched folders, in real files and records: nothing half, nothing twice, nothing lost over a restart."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from conveyor.delivery import arrivals
from conveyor.delivery.watching import Watching
from conveyor.domain.landing import PATIENCE
from conveyor.domain.release import Build
from conveyor.errors import NoSpace
from conveyor.stores.collections import WATCHED

from .conftest import Plane

DATA = '[data.days]\nwatch = ["in/**/*.parquet", "in/*.csv"]\n'


class Watched:
    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.restart()
        self.build: Build = plane.build(DATA)
        (plane.root / "in").mkdir(exist_ok=True)

    def restart(self) -> None:
        self.context = self.plane.context()
        self.watching = Watching(self.context, arrivals.accept)

    def turn(self) -> None:
        self.watching.turn([self.build])

    def rest(self, seconds: float = 5) -> list[str]:
        """The files that have arrived once nothing has changed for a while."""
        for _ in range(int(seconds * 2)):
            self.plane.until(self.turn, lambda: True)
            self.plane.clock.step(timedelta(seconds=0.5))
            self._copied()
        self.turn()
        return [arrival.file for arrival in self.plane.arrivals()]

    def _copied(self) -> None:
        for place in self.watching._places.values():
            for each in place.pending.values():
                if each.copy is not None:
                    each.copy.exception(timeout=10)


@pytest.fixture
def watched(plane: Plane) -> Watched:
    return Watched(plane)


def parquet(path: Path, rows: int = 100, start: int = 0) -> bytes:
    pl.DataFrame({"id": range(start, start + rows)}).write_parquet(path)
    return path.read_bytes()


def test_a_file_that_is_written_slowly_is_taken_once_and_whole(watched: Watched) -> None:
    folder = watched.plane.root / "in"
    raw = parquet(watched.plane.root / "whole.parquet")
    with (folder / "slow.parquet").open("wb") as file:
        for start in range(0, len(raw), 100):
            file.write(raw[start : start + 100])
            file.flush()
            assert watched.rest(2) == []
        assert watched.rest(300) == []  # complete, but still open
    assert watched.rest() == ["slow.parquet"]
    (arrival,) = watched.plane.arrivals()
    assert watched.context.objects.get(arrival.digest) == raw
    (held,) = watched.plane.events("data.held")
    assert held.data == {"file": "in/slow.parquet", "reason": "a process has it open for writing"}


def test_a_parquet_without_its_end_waits_though_nobody_has_it_open(watched: Watched) -> None:
    path = watched.plane.root / "in" / "a.parquet"
    raw = parquet(watched.plane.root / "whole.parquet")
    path.write_bytes(raw[:-10])
    assert watched.rest(PATIENCE.total_seconds() - 5) == []
    with path.open("ab") as file:
        file.write(raw[-10:])
    assert watched.rest() == ["a.parquet"]
    path.with_name("b.parquet").write_bytes(raw[:50])
    assert watched.rest(PATIENCE.total_seconds() + 40) == ["a.parquet", "b.parquet"]  # to be refused by name


def test_what_was_taken_is_not_taken_again(watched: Watched) -> None:
    folder = watched.plane.root / "in"
    parquet(folder / "a.parquet")
    assert watched.rest() == ["a.parquet"]
    (folder / "a.parquet").rename(folder / "b.parquet")  # renamed
    parquet(folder / "c.parquet")  # the same bytes
    assert watched.rest() == ["a.parquet"]
    assert sorted(event.data["file"] for event in watched.plane.events("data.duplicate")) == ["b.parquet", "c.parquet"]
    watched.restart()
    assert watched.rest(60) == ["a.parquet"]
    assert len(watched.plane.events("data.duplicate")) == 2  # nothing was even read again
    parquet(folder / "new.parquet", start=1000)
    (folder / "new.parquet").replace(folder / "c.parquet")  # other content under the name
    assert watched.rest(60) == ["a.parquet", "c.parquet"]
    for path in folder.iterdir():
        path.unlink()
    watched.rest(60)
    with watched.context.records.read() as tx:
        assert tx.find(WATCHED) == []  # what is gone costs nothing
    assert len(watched.plane.arrivals()) == 2


def test_changed_in_place_is_other_content(watched: Watched) -> None:
    path = watched.plane.root / "in" / "a.csv"
    path.write_text("id\n1\n")
    assert watched.rest() == ["a.csv"]
    path.write_text("id\n2\n")
    assert watched.rest(60) == ["a.csv", "a.csv"]
    first, second = (watched.context.objects.get(arrival.digest) for arrival in watched.plane.arrivals())
    assert (first, second) == (b"id\n1\n", b"id\n2\n")


def test_hostile_names_are_taken_or_told_once(watched: Watched) -> None:
    folder = watched.plane.root / "in"
    secret = watched.plane.root / "secret.csv"
    secret.write_text("password\nx\n")
    (folder / "link.csv").symlink_to(secret)
    (folder / "loop").symlink_to(".")
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text("id\n1\n")
    (folder / "two\nlines.csv").write_text("id\n2\n")
    assert sorted(watched.rest(60)) == ["caf\\xe9.csv", "two\\x0alines.csv"]
    watched.restart()
    watched.rest(60)
    (skipped,) = watched.plane.events("data.skipped")
    assert skipped.data == {"file": "in/link.csv", "reason": "it is a link out of the watched folder"}
    stored = {watched.context.objects.get(arrival.digest) for arrival in watched.plane.arrivals()}
    assert stored == {b"id\n1\n", b"id\n2\n"}


def test_more_files_than_fit_one_turn(watched: Watched) -> None:
    for number in range(300):
        (watched.plane.root / "in" / f"{number}.csv").write_text(f"id\n{number}\n")
    watched.plane.until(watched.turn, lambda: len(watched.plane.arrivals()) == 300)
    assert len({arrival.digest for arrival in watched.plane.arrivals()}) == 300


def test_a_full_disk_loses_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(watched.plane.root / "in" / "a.parquet")
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 0))
        with pytest.raises(NoSpace, match="no room for"):
            watched.rest()
        assert watched.plane.arrivals() == []
    assert watched.rest(20) == ["a.parquet"]


def test_a_link_that_takes_the_place_of_a_file_is_not_followed(watched: Watched) -> None:
    folder, outside = watched.plane.root / "in", watched.plane.root / "outside"
    outside.mkdir()
    (outside / "a.parquet").write_bytes(parquet(watched.plane.root / "secret.parquet"))
    (folder / "below").mkdir()
    parquet(folder / "below" / "a.parquet", start=5)
    watched.turn()  # it is seen, and must stand still
    (folder / "below").rename(watched.plane.root / "away")
    (folder / "below").symlink_to(outside)
    parquet(folder / "b.parquet", start=7)
    watched.turn()
    (folder / "b.parquet").unlink()
    (folder / "b.parquet").symlink_to(outside / "a.parquet")
    assert watched.rest(60) == []
    (skipped,) = watched.plane.events("data.skipped")
    assert skipped.data["file"] == "in/b.parquet"
