"""A hundred days arrive by all roads while the control plane is killed ten times: each row is there exactly once."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import obstore
import polars as pl
import pytest
from e2e.hostile import claiming
from e2e.system import NAME, System
from s3 import S3Server

from conveyor.cli.demo.simulator import simulate
from conveyor.domain import requests
from conveyor.errors import Overloaded, Unavailable
from conveyor.stores import manifests
from conveyor.stores.objects import Objects

SEED = 20180401
DAYS, KILLS, OBJECTS = 100, 10, 4
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "fdh_raw"
CONFIG = """
[project]
name = "tiny"

[data.days]
watch = "incoming/*.parquet"
time = "TX_DATETIME"
key = "TRANSACTION_ID"
rules = { TX_AMOUNT = { min = 0 } }

[data.orders]
key = "id"

[data.shipped]
watch = "s3://landing/shipped/*.csv"

[data.refunds]
query = "SELECT id, text FROM refunds WHERE id > :cursor ORDER BY id"
url = "REFUNDS"
cursor = "id"
start = 0
every = "1s"

[data.ticks]
source = "ticks:ticks"
every = "1s"
secrets = ["TICKS"]

[data.small]
watch = "small/*"
limits = { rows = 1000, mb = 300, memory_mb = 512 }
"""

TICKS = """
import os
from pathlib import Path


def ticks(cursor):
    lines = Path(os.environ["TICKS"]).read_text().splitlines()[cursor or 0 :]
    for start in range(0, len(lines), 500):
        rows = [{"id": int(line)} for line in lines[start : start + 500]]
        yield rows, (cursor or 0) + start + len(rows)
"""


def days(folder: Path) -> list[Path]:
    """Real days where they are at hand, else simulated ones."""
    real = sorted(PUBLISHED.glob("*.parquet"))[:DAYS]
    if len(real) == DAYS:
        return real
    for day, table in simulate(DAYS, SEED, date(2018, 4, 1)):
        table.write_parquet(folder / f"{day.isoformat()}.parquet")
    return sorted(folder.glob("*.parquet"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    made = S3Server()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, bucket: S3Server) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("arrivals"))
    try:
        made.start()
        made.write("conveyor.toml", CONFIG)
        (made.root / "incoming").mkdir()
        made.write("ticks.py", TICKS)
        made.push("Data only")
        secrets = {"REFUNDS": f"sqlite:///{made.root / 'refunds.db'}", "TICKS": str(made.root / "ticks")}
        for name, value in (secrets | bucket.settings).items():
            made.client.set_secret(NAME, "production", name, requests.SetSecret(value))
        made.event(0, "build.ready", seconds=180)
        yield made
    finally:
        made.stop()


class Roads:
    """Three ways for a file to arrive: whole at once, slowly under its own name, and by upload."""

    def __init__(self, system: System) -> None:
        self._system = system

    def take(self, number: int, path: Path) -> None:
        (self._whole, self._slowly, self._uploaded)[number % 3](path)

    def _whole(self, path: Path) -> None:
        folder = self._system.root / "incoming"
        (folder / f".{path.name}").write_bytes(path.read_bytes())
        (folder / f".{path.name}").rename(folder / path.name)

    def _slowly(self, path: Path) -> None:
        raw = path.read_bytes()
        with (self._system.root / "incoming" / path.name).open("wb") as file:
            for start in range(0, len(raw), len(raw) // 4 + 1):
                file.write(raw[start : start + len(raw) // 4 + 1])
                file.flush()
                time.sleep(0.2)  # the writer is slow on purpose

    def _uploaded(self, path: Path) -> None:
        while True:
            try:
                self._system.client.add_data(NAME, "days", path)
                return
            except Unavailable:
                time.sleep(0.1)  # it was killed; a client asks again


class Source(threading.Thread):
    """A table and a file that grow by themselves, for Conveyor to fetch."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._over = threading.Event()
        self.count = 0
        (root / "ticks").write_text("")
        with contextlib.closing(sqlite3.connect(root / "refunds.db")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE refunds (id INTEGER PRIMARY KEY, text TEXT)")

    def run(self) -> None:
        with contextlib.closing(sqlite3.connect(self._root / "refunds.db", timeout=30)) as database:
            while not self._over.wait(0.05):
                numbers = range(self.count + 1, self.count + 31)
                with database, (self._root / "ticks").open("a") as file:
                    database.executemany("INSERT INTO refunds VALUES (?, ?)", [(n, f"refund {n}") for n in numbers])
                    file.write("".join(f"{n}\n" for n in numbers))
                self.count += 30

    def end(self) -> None:
        self._over.set()
        self.join()


class Sender(threading.Thread):
    """Sends rows in small requests for as long as it is let, and what it got no answer for again."""

    def __init__(self, system: System) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._over = threading.Event()
        self.sent = 0
        self.again = 0
        self.refused: Exception | None = None

    def run(self) -> None:
        while not self._over.wait(0.01):
            rows = [{"id": self.sent + n, "text": f"order {self.sent + n}"} for n in range(20)]
            while True:
                try:
                    self._system.client.send_rows(NAME, "orders", rows, key=f"from-{self.sent}")
                    break
                except (Unavailable, Overloaded):
                    self.again += 1
                    time.sleep(0.05)  # it was killed; a client asks again
                except Exception as error:
                    self.refused = error
                    return
            self.sent += len(rows)

    def end(self) -> None:
        self._over.set()
        self.join()
        assert self.refused is None, self.refused


def _control(system: System) -> int:
    found = system.wait(lambda: [p.pid for p in system.client.status().processes if p.name == "control"], "control")
    pid: int = found[0]
    return pid


def _kill(system: System, delay: float) -> None:
    pid = _control(system)
    time.sleep(delay)  # the moment is random on purpose
    os.kill(pid, signal.SIGKILL)
    system.wait(lambda: _control(system) != pid, "the next control plane", 60)


@pytest.mark.timeout(400)
def test_each_row_of_a_hundred_days_is_there_exactly_once(system: System, bucket: S3Server, tmp_path: Path) -> None:
    files, chance, roads = days(tmp_path), random.Random(SEED), Roads(system)
    share = DAYS // KILLS
    sender, source = Sender(system), Source(system.root)
    sender.start()
    source.start()
    for round_ in range(KILLS):
        batch = range(round_ * share, (round_ + 1) * share)
        writers = [threading.Thread(target=roads.take, args=(n, files[n]), daemon=True) for n in batch]
        for writer in writers:
            writer.start()
        for number in range(OBJECTS * round_, OBJECTS * (round_ + 1)):
            lines = "".join(f"{number * 50 + n}\n" for n in range(50))
            obstore.put(bucket.store(), f"shipped/{number:03d}.csv", f"id\n{lines}".encode())
        _kill(system, chance.uniform(0, 2.5))
        for writer in writers:
            writer.join()
    sender.end()
    source.end()
    expected = pl.scan_parquet(files).select("TRANSACTION_ID", "TX_AMOUNT").collect()

    found = _rows(system, "days", expected.height, tmp_path).select(expected.columns)
    assert found.height == expected.height
    assert found.sort("TRANSACTION_ID").equals(expected.sort("TRANSACTION_ID"))
    orders = _rows(system, "orders", sender.sent, tmp_path)
    assert sender.sent > 1000
    assert sender.again > 0
    assert sorted(orders["id"].to_list()) == list(range(sender.sent))
    for dataset in ("refunds", "ticks"):
        found = _rows(system, dataset, source.count, tmp_path)
        assert sorted(found["id"].to_list()) == list(range(1, source.count + 1)), dataset
    shipped = _rows(system, "shipped", OBJECTS * KILLS * 50, tmp_path)
    assert sorted(shipped["id"].to_list()) == list(range(OBJECTS * KILLS * 50))
    arrivals = system.client.arrivals(NAME, "days", 1000)
    assert {arrival.state for arrival in arrivals} == {"taken"}
    assert len({arrival.digest for arrival in arrivals}) == len(arrivals) == DAYS
    recovered = system.events(0, "system.recovered", "system.started")
    # At least: a new control plane may find the port taken for a moment, and is started once more.
    assert len(recovered) > KILLS, system.events(0, "process.died", "system.error")


def _rows(system: System, dataset: str, count: int, cache: Path) -> pl.DataFrame:
    """All rows of the newest version, once there are as many as that and nothing more is under way."""

    def all_there() -> bool:
        newest = system.client.dataset_versions(NAME, dataset, 1)
        return bool(newest) and newest[0].rows >= count and system.settled()

    system.wait(all_there, f"{count:,} rows of {dataset}", 180)
    (newest,) = system.client.dataset_versions(NAME, dataset, 1)
    objects = Objects(str(system.settings.objects), cache)
    manifest = manifests.read(objects, newest.manifest)
    return pl.concat(pl.read_parquet(objects.path(part.digest)) for part in manifest.parts)


@pytest.mark.timeout(200)
def test_a_file_that_needs_more_than_there_is_is_refused_alone(system: System, tmp_path: Path) -> None:
    """Within the bound on disk, but far beyond that of memory: its process ends, and with it no other file."""
    control, folder = _control(system), system.root / "small"
    bomb = gzip.compress(b"a\n" + b"1\n" * (140 * 2**20), compresslevel=1)
    (tmp_path / "small").mkdir()
    for number in range(6):
        (tmp_path / "small" / f"good-{number}.csv").write_text(f"a\n{number}\n")
    (tmp_path / "small" / "good-25.csv.gz").write_bytes(bomb)
    (tmp_path / "small").rename(folder)  # all at once
    refused = system.event(0, "data.refused", seconds=120)
    assert refused.data["file"] == "good-25.csv.gz"
    assert "ended by itself" in refused.data["error"]
    assert "limits.memory_mb" in refused.data["hint"]
    taken = _rows(system, "small", 6, tmp_path)
    assert sorted(taken["a"].to_list()) == list(range(6))
    assert _control(system) == control
    again = system.client.add_data(NAME, "small", _claims(tmp_path))
    refused = system.event(refused.seq, "data.refused")
    assert refused.data["kept_as"] == again.digest
    assert "10,000,000,000 rows" in refused.data["error"]


def _claims(folder: Path) -> Path:
    path = folder / "claims.parquet"
    pl.DataFrame({"a": range(12_345)}).write_parquet(path, compression="uncompressed", statistics=False)
    path.write_bytes(claiming(path.read_bytes(), 12_345, 10_000_000_000))
    return path
