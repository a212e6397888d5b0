"""Reading a version straight from the store: only what is asked for, the same from a folder, S3 and the API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from s3 import BUCKET, S3Server

import conveyor
from conveyor.domain import requests
from conveyor.domain.dataset import Part
from conveyor.domain.project import DataConfig
from conveyor.errors import CorruptObject, InputRejected, NotFound
from conveyor.tables.table import write

from .counting import Counting
from .place import START, TOKEN, Place, payments

DATA = DataConfig("payments", time="at", key="id")
DAYS = 183
WINDOW = 28
SIZE = 4096  # of a page of memory
PUBLISHED = Path(os.environ.get("CONVEYOR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "fdh_raw"


def daily(place: Place, days: int, rows: int = 500) -> list[Part]:
    """One version of daily files; its parts."""
    frames = {f"day-{day:03}": payments(day, rows) for day in range(days)}
    place.take("payments", inline=True, **frames)
    with place.api() as client:
        return list(client.table("shop", "payments").manifest.parts)


def expected(days: int, rows: int = 500) -> pl.DataFrame:
    """The newest 28 days, by pandas' way of counting: later than the newest row less 28 days."""
    whole = pl.concat([payments(day, rows) for day in range(days)])
    newest = whole["at"].max()
    assert isinstance(newest, datetime)
    return whole.filter(pl.col("at") > newest - timedelta(days=WINDOW))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("CONVEYOR_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / ".conveyor"))
    monkeypatch.setenv("CONVEYOR_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def s3() -> Iterator[int]:
    server = S3Server(keyed=False)
    try:
        yield server.port
    finally:
        server.stop()


def resident(path: Path) -> int:
    """Bytes of a file that are in the page cache: what was read of it since it was evicted."""
    done = subprocess.run(["fincore", "-nb", "-o", "RES", str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def evict(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_window_of_a_local_store_reads_the_days_of_the_window_only(home: Path) -> None:
    place = Place(home, DATA)
    parts = daily(place, DAYS)
    paths = [place.context.objects.path(part.digest) for part in parts]
    for path in paths:
        evict(path)
    if sum(map(resident, paths)):
        pytest.skip("this file system keeps no count of what was read")
    program = "import conveyor; print(conveyor.dataset('payments').scan(window='28d').collect().height)"
    with place.api():
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    read = {path: resident(path) for path in paths}
    assert int(done.stdout) == expected(DAYS).height
    touched = [path for path in paths if read[path]]
    assert touched == paths[-WINDOW - 1 :], "the window's days, and the one that it begins in"
    whole = sum(-(-path.stat().st_size // SIZE) * SIZE for path in touched)
    assert 0 < sum(read.values()) <= whole


def test_a_window_of_s3_reads_ranges_of_the_days_of_the_window_only(
    home: Path, s3: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
    place = Place(home, DATA, objects_url=f"s3://{BUCKET}/objects")
    parts = daily(place, 60)
    place.take("payments", inline=True, big=payments(100, 90_000))
    counting = Counting(s3)
    try:
        with place.api():
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{counting.port}")
            table = conveyor.dataset("payments@v1")
            whole = table.scan(window="28d").collect()
            of_whole, counting.sent = counting.sent, 0
            ranged = list(counting.asked)
            big = conveyor.dataset("payments")
            amounts = big.scan(window="1d", columns=["amount"]).collect()
            of_two_columns = counting.sent
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
            verified = conveyor.dataset("payments@v1", verify=True).frame(window="28d")
    finally:
        counting.stop()
    assert whole.sort("id").equals(expected(60).sort("id"))
    assert verified.sort("id").equals(whole.sort("id"))
    assert amounts.equals(payments(100, 90_000).select("amount"))
    window = parts[-WINDOW - 1 :]
    keys = {f"/{BUCKET}/objects/{part.digest[:2]}/{part.digest[2:]}" for part in window}
    assert {path.partition("?")[0] for _, path, _ in ranged} == keys
    assert all(range_ for method, _, range_ in ranged if method == "GET")
    assert of_whole <= 1.1 * sum(part.bytes for part in window) + 64 * 1024 * len(window)
    assert of_two_columns < big.view.manifest.parts[-1].bytes / 2, "the event time and the column asked for"


def test_a_version_is_read_the_same_in_every_form_and_from_anywhere(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(home, DATA)
    place.take("payments", first=payments(0), second=payments(1))
    place.take("payments", third=payments(2))
    with place.api() as client:
        table = conveyor.dataset("payments@v1")
        rows = pl.concat([payments(0), payments(1)])
        assert repr(table) == "<payments@v1: 1,000 rows, 5 columns>"
        assert table.frame().equals(rows)
        assert pl.from_pandas(table.pandas()).cast(rows.schema).equals(rows)
        assert pl.from_arrow(table.arrow()).equals(rows)  # type: ignore[union-attr]
        counted = table.duckdb().query("t", "select kind, max(amount) from t group by kind order by kind").fetchall()
        assert counted == rows.group_by("kind").agg(pl.col("amount").max()).sort("kind").rows()
        assert pl.concat(table.batches(300)).equals(rows)
        halves = [pl.concat(table.batches(300, share=share, of=2)) for share in (0, 1)]
        assert pl.concat(halves).equals(rows)
        some = table.frame(since="2018-04-01T12:00", until="2018-04-02", columns=["id", "at"])
        noon, end = datetime(2018, 4, 1, 12), datetime(2018, 4, 2)
        assert some.equals(rows.filter(pl.col("at").is_between(noon, end)).select("id", "at"))
        assert table.frame(since="2019-01-01").schema == rows.schema
        assert table.frame(since="2019-01-01").height == 0
        assert conveyor.dataset("shop/payments").version == 2
        client.tag_data("shop", "payments", "golden", requests.TagVersion("v1"))
        assert conveyor.dataset("payments@golden").version == 1
        assert conveyor.dataset(f"payments@{START.isoformat()}").version == 1
        assert conveyor.dataset(f"payments@{(START + timedelta(days=1)).isoformat()}").version == 2
        (home / "elsewhere").mkdir()
        monkeypatch.chdir(home / "elsewhere")
        monkeypatch.delenv("CONVEYOR_HOME")
        place.settings.objects.rename(home / "moved")
        monkeypatch.setenv("CONVEYOR_URL", client.url)
        monkeypatch.setenv("CONVEYOR_TOKEN", TOKEN)
        with pytest.raises(NotFound):
            conveyor.dataset("payments@v1").scan()
        (home / "moved").rename(place.settings.objects)
        view = conveyor.dataset("payments@v1").view
        with pytest.raises(InputRejected, match="28 days"):
            table.scan(window="28 days")
        with pytest.raises(NotFound, match="v9"):
            conveyor.dataset("payments@v9")
        damaged = place.context.objects.path(view.manifest.parts[0].digest)
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
        with pytest.raises(CorruptObject):
            conveyor.dataset("payments@v1").scan()
    assert view.version.watermark is not None
    assert view.version.watermark.astimezone(UTC) == rows["at"].max().replace(tzinfo=UTC)  # type: ignore[union-attr]


def test_what_is_read_over_the_api_is_verified_and_kept(home: Path) -> None:
    place = Place(home, DATA)
    place.take("payments", first=payments(0))
    with place.api() as client:
        from conveyor.tables import store
        from conveyor.tables.table import Table

        view = client.table("shop", "payments")
        downloads = store.Downloads(client, view, home / "downloads")
        table = Table(view, downloads)
        assert table.frame().equals(payments(0))
        part = view.manifest.parts[0]
        kept = home / "downloads" / store.key(part.digest)
        assert kept.stat().st_size == part.bytes
        kept.write_bytes(b"damaged")
        with pytest.raises(CorruptObject):
            table.frame()
        assert set(table.sketches() or ()) == set(payments(0).columns)
        other = place.context.objects.put(b"of another version")
        with pytest.raises(NotFound):
            downloads.whole(other)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    place = Place(tmp_path, DataConfig("plain"), DATA)
    place.take("plain", inline=True, a=payments(0))
    place.take("payments", inline=True, b=payments(0))
    plain, timed = place.table("plain"), place.table("payments")
    assert plain.frame().equals(payments(0))
    for which, says in (({"window": "1d"}, "no event time"), ({"since": "2018-04-01"}, "no event-time column")):
        with pytest.raises(InputRejected, match=says):
            plain.frame(**which)
    for which, says in (
        ({"window": "0s"}, "stretch of time"),
        ({"window": "1d", "since": "2018-04-01"}, "twice"),
        ({"until": "yesterday"}, "not a time"),
    ):
        with pytest.raises(InputRejected, match=says):
            timed.frame(**which)
    with pytest.raises(InputRejected, match="cannot be written"):
        write(timed, tmp_path / "none" / "x.parquet")
    place.context.objects.delete(timed.view.manifest.parts[0].digest)
    with pytest.raises(NotFound, match="is not in"):
        timed.frame()
    place.close()


def test_importing_conveyor_imports_nothing_heavy() -> None:
    program = (
        "import conveyor, sys; print(sorted({'polars', 'numpy', 'msgspec', 'typer', 'typing'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data is not on this machine (CONVEYOR_DATA)")
def test_a_window_of_the_published_days_reads_only_them(home: Path, s3: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(PUBLISHED.glob("*.parquet"))[:183]
    whole = pl.scan_parquet(files)
    begin = whole.select(pl.col("TX_DATETIME").max()).collect().item() - timedelta(days=WINDOW)
    wanted = whole.filter(pl.col("TX_DATETIME") > begin).select("TRANSACTION_ID", "TX_AMOUNT").collect()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
    config = DataConfig("transactions", time="TX_DATETIME", key="TRANSACTION_ID")
    place = Place(home, config, objects_url=f"s3://{BUCKET}/published")
    place.take("transactions", inline=True, **{file.stem: pl.read_parquet(file) for file in files})
    counting = Counting(s3)
    try:
        with place.api():
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{counting.port}")
            table = conveyor.dataset("transactions")
            found = table.frame(window=f"{WINDOW}d", columns=["TRANSACTION_ID", "TX_AMOUNT"])
    finally:
        counting.stop()
    parts = table.view.manifest.parts
    assert len(parts) == len(files)
    assert found.sort("TRANSACTION_ID").equals(wanted.sort("TRANSACTION_ID"))
    asked = {path.partition("?")[0].rpartition("objects/")[2] for _, path, _ in counting.asked}
    assert len(asked) in (WINDOW, WINDOW + 1), "the days of the window, and that in which it begins"
    # Polars takes the last 256 KiB of an object for its footer: small parts come whole, some of them twice.
    assert counting.sent <= 2 * sum(part.bytes for part in parts[-WINDOW - 1 :])
    print(f"{counting.sent:,} bytes read of {sum(part.bytes for part in parts):,} in {len(parts)} parts")
    place.close()
