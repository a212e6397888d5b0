"""Append, replace and upsert against a dictionary of rows; what training reads is what `scan` gives."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.delivery.arrivals import accept
from conveyor.delivery.inputs import Inputs
from conveyor.domain.project import DataConfig, Label
from conveyor.domain.run import Run
from conveyor.domain.state import Arrival
from conveyor.sdk import inputs, version_profile
from conveyor.stores import collections as c
from conveyor.tables.diff import diff

from .place import START, Place, payments

UPSERT = DataConfig("payments", time="at", key="id", mode="upsert")
REPLACE = DataConfig("payments", time="at", key="id", mode="replace")
APPEND = DataConfig("payments", time="at", key="id", label=Label("kind", timedelta(0)))
DAY = datetime(2018, 4, 1)

keys = st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True)
ingests = st.lists(st.lists(keys, min_size=1, max_size=3), min_size=1, max_size=5)


def rows(ids: list[int], stamp: int, hours: int = 0) -> pl.DataFrame:
    """Rows with these keys; `stamp` tells who wrote them last."""
    at = [DAY + timedelta(hours=hours + number) for number in ids]
    return pl.DataFrame({"id": ids, "at": at, "stamp": [stamp] * len(ids)}, schema_overrides={"id": pl.Int64})


def arrival(place: Place, file: str) -> Arrival:
    with place.context.records.read() as tx:
        return next(a for a in tx.find(c.ARRIVALS, where={"dataset": "shop/payments"}) if a.file == f"{file}.parquet")


@settings(max_examples=25, deadline=None)
@given(ingests)
def test_the_newest_row_of_a_key_wins_whatever_comes(batches: list[list[list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), UPSERT)
        model: dict[int, int] = {}
        stamp = 0
        for batch in batches:
            frames = {}
            before = dict(model)
            for ids in batch:
                stamp += 1
                frames[f"f{stamp}"] = rows(ids, stamp)
                model |= dict.fromkeys(ids, stamp)
            run = place.take("payments", inline=True, **frames)
            assert run.result["replaced"] == len(before.keys() & {key for ids in batch for key in ids})
        table = place.table("payments")
        found = table.frame()
        assert dict(found.select("id", "stamp").iter_rows()) == model
        assert found.height == len(model) == table.view.version.rows
        assert trained_on(place, table.version).sort("id").equals(found.sort("id"))
        assert table.profile is not None
        assert table.profile.rows == len(model)
        assert table.profile.columns["stamp"].distinct == len(set(model.values()))
        assert (table.profile.columns["id"].min, table.profile.columns["id"].max) == (min(model), max(model))
        first = place.table("payments", "v1").frame()
        assert set(first["id"]) == {key for ids in batches[0] for key in ids}, "earlier versions stay as they were"
        place.close()


def trained_on(place: Place, version: int) -> pl.DataFrame:
    """What a step of the project would be given of that version."""
    run = Run("r", "shop", "train", "shop/m", {"data": {"payments": version}}, (), START)
    resolved = Inputs(place.context, place.build.config, run).resolve("data.payments")
    return inputs.load(resolved.spec).collect()


def test_upsert_writes_only_the_parts_anew_that_hold_the_keys(tmp_path: Path) -> None:
    place = Place(tmp_path, UPSERT)
    place.take("payments", **{f"day-{day}": payments(day) for day in range(4)})
    changed = payments(1)[:3].with_columns(amount=pl.lit(999.0))
    late = payments(1, 1).with_columns(id=pl.lit(7_000_000, pl.Int64), at=pl.lit(DAY))
    run = place.take("payments", update=pl.concat([changed, late]))
    before, after = place.table("payments", "v1"), place.table("payments")
    old, new = before.view.manifest.parts, after.view.manifest.parts
    assert [part.digest for part in old][:1] + [part.digest for part in old][2:] == [
        new[0].digest, new[2].digest, new[3].digest,
    ]  # fmt: skip
    assert (new[1].rows, new[1].source, new[4].rows) == (497, "day-1.parquet", 4)
    assert run.result == {"version": 2, "new_rows": 4, "replaced": 3}
    told = place.events("data.version_created")[-1].data
    assert (told["mode"], told["replaced"], told["late"], told["rows"]) == ("upsert", 3, 4, 2001)
    assert arrival(place, "update").note == "4 rows taken, 4 late: older than what was known"
    found = diff(before, after)
    assert (found.rows.added, found.rows.removed, found.rows.changed) == (1, 0, 3)
    assert after.profile is not None
    assert after.profile.columns["amount"].max == 999.0
    assert after.profile.rows == after.view.version.rows == 2001
    place.close()


def test_a_dataset_that_becomes_upsert_later_and_a_damaged_part(tmp_path: Path) -> None:
    place = Place(tmp_path, DataConfig("payments", time="at", key="id"))
    place.take("payments", inline=True, first=payments(0), second=payments(1))
    place.configure(UPSERT)
    place.take("payments", inline=True, update=payments(0)[:5].with_columns(amount=pl.lit(-1.0)))
    table = place.table("payments")
    assert table.view.version.rows == 1000
    assert table.frame().filter(pl.col("amount") == -1.0).height == 5
    assert table.profile is not None
    assert (table.profile.rows, table.profile.columns["amount"].min) == (1000, -1.0)
    damaged = place.context.objects.path(table.view.manifest.parts[1].digest)
    raw = bytearray(damaged.read_bytes())
    raw[40] ^= 1
    damaged.write_bytes(raw)
    with pytest.raises(AssertionError):
        place.take("payments", inline=True, again=payments(1)[:5].with_columns(amount=pl.lit(-2.0)))
    assert place.table("payments").version == 2
    place.close()


def test_large_parts_keep_sketches_of_their_own_and_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_profile, "LARGE", 400)
    place = Place(tmp_path, DataConfig("payments", time="at", key="id"))
    place.take("payments", inline=True, a=payments(0), b=payments(1), c=payments(2, 100))
    place.configure(UPSERT)
    place.take("payments", inline=True, update=payments(0)[:5].with_columns(amount=pl.lit(-1.0)))
    first, parts = place.table("payments", "v1").view.manifest.parts, place.table("payments").view.manifest.parts
    assert [bool(part.sketches) for part in parts] == [True, True, False, False]
    assert [old.digest == new.digest for old, new in zip(first, parts, strict=False)] == [False, True, True]
    place.take("payments", inline=True, update2=payments(1)[:200].with_columns(amount=pl.lit(-2.0)))
    table = place.table("payments")
    assert [bool(part.sketches) for part in table.view.manifest.parts] == [True, False, False, False, False]
    assert table.view.manifest.parts[0] == parts[0]
    assert table.profile is not None
    amount, whole = table.profile.columns["amount"], table.frame()["amount"]
    assert (table.profile.rows, amount.min, amount.mean) == (1100, -2.0, pytest.approx(whole.mean()))
    assert amount.distinct == whole.n_unique()
    place.close()


def test_replace_makes_what_comes_the_whole_dataset_or_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, REPLACE)
    place.take("payments", inline=True, a=payments(0), b=payments(1))
    run = place.take("payments", inline=True, c=payments(2, 300))
    assert run.result == {"version": 2, "new_rows": 300, "replaced": 1000}
    table = place.table("payments")
    assert table.frame().equals(payments(2, 300))
    assert table.profile is not None
    assert table.profile.rows == 300
    bad = payments(4).drop("amount")
    assert place.take("payments", inline=True, d=payments(3), bad=bad).result == {"accepted": 0}
    assert place.table("payments").version == 2
    states = {name: arrival(place, name) for name in ("d", "bad")}
    assert {name: one.state for name, one in states.items()} == {"d": "refused", "bad": "refused"}
    assert "bad.parquet, which was refused" in states["d"].note
    found = diff(place.table("payments", "v1"), table)
    assert (found.rows.added, found.rows.removed, found.rows.changed) == (300, 1000, 0)
    place.close()


def test_what_was_replaced_comes_back_when_somebody_means_it(tmp_path: Path) -> None:
    place = Place(tmp_path, REPLACE)
    place.take("payments", inline=True, a=payments(0))
    place.take("payments", inline=True, b=payments(1))
    desk = place.desk()
    files = {name: tmp_path / f"{name}.parquet" for name in ("a", "b")}
    assert desk.upload("shop", "payments", "b.parquet", files["b"]).duplicate_of == "b.parquet"
    with place.context.records.transaction() as tx:
        digest = place.context.objects.put_file(files["a"])
        assert accept(place.context, tx, "shop", "payments", "a.parquet", digest) is None
    assert desk.upload("shop", "payments", "a.parquet", files["a"]).duplicate_of == ""
    assert desk.upload("shop", "payments", "a.parquet", files["a"]).duplicate_of == "a.parquet"
    assert arrival(place, "a").state == "waiting"
    place.run("payments", [arrival(place, "a")])
    assert place.table("payments").frame().equals(payments(0))
    assert place.table("payments").version == 3
    place.close()


def test_append_counts_late_rows_and_profiles_the_whole_version(tmp_path: Path) -> None:
    place = Place(tmp_path, APPEND)
    place.take("payments", inline=True, a=payments(5))
    place.take("payments", inline=True, b=payments(3, 200), c=payments(6))
    told = [(event.data["late"], event.data["replaced"]) for event in place.events("data.version_created")]
    assert told == [(0, 0), (200, 0)]
    table = place.table("payments")
    whole = pl.concat([payments(5), payments(3, 200), payments(6)])
    assert table.profile is not None
    amount: Any = table.profile.columns["amount"]
    assert (table.profile.rows, amount.mean) == (1200, pytest.approx(whole["amount"].mean()))
    assert dict(table.profile.columns["kind"].top) == dict(whole["kind"].value_counts().iter_rows())
    found = diff(place.table("payments", "v1"), table)
    assert (found.rows.added, found.rows.removed, found.drifted) == (700, 0, ())
    place.context.objects.delete(table.profile.sketches)
    assert table.sketches() is None
    place.take("payments", inline=True, d=payments(7))
    again = place.table("payments").profile
    assert again is not None
    assert again.rows == 1700, "sketches that are gone are made again from the parts"
    place.close()


def test_what_was_made_for_a_version_that_is_no_longer_the_newest_is_made_again(tmp_path: Path) -> None:
    place = Place(tmp_path, UPSERT)
    place.take("payments", inline=True, a=payments(0))
    run = place.take(
        "payments", inline=True, b=payments(1), between=lambda: place.take("payments", inline=True, c=payments(2))
    )
    assert run.result["accepted"] == 0
    assert arrival(place, "b").state == "waiting"
    assert place.table("payments").frame().height == 1000
    place.close()
