"""The quarantine: shown, released through the contract of the day or past it, dropped; killed at every point."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from conveyor.domain import requests
from conveyor.errors import Conflict, InputRejected, NotFound

from .lake import Lake, payments

ME = requests.ReleaseRows(by="ann", why="the limit was wrong")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A file of ten rows, of which 3 to 5 are over the limit of 100."""
    made = Lake(tmp_path)
    over = pl.col("id").is_between(3, 5)
    table = payments(range(10)).with_columns(
        pl.when(over).then(150.0 + pl.col("id")).otherwise("amount").alias("amount")
    )
    made.land("a.parquet", table)
    made.settle()
    yield made
    made.close()


def test_rows_go_back_through_the_present_contract(lake: Lake) -> None:
    desk, (entry,) = lake.desk.quarantines, lake.held()
    shown = desk.show("shop", "payments", entry.name, 2)
    assert [(row.number, row.rule) for row in shown.rows] == [(3, "amount:max"), (4, "amount:max")]
    assert shown.rows[0].reason == "amount = 153.0 must be at most 100"
    assert shown.rows[0].values == {"id": 3, "at": "2026-01-01T00:03:00", "customer": 103, "amount": 153.0}

    lake.contract("[data.payments.rules]\namount = { min = 0, max = 154 }\n")
    said = desk.release("shop", "payments", entry.id, ME)
    assert said.message.startswith("3 rows of a.parquet put back through the present contract")
    lake.settle()
    assert lake.rows()["id"].to_list() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    (again,) = lake.held()
    assert (again.rows, again.reasons, again.id != entry.id) == (1, {"amount:max": 1}, True)
    assert lake.version().sources[-1].startswith(f"released-{entry.name}-1-a.parquet")
    (past,) = desk.past("shop", "payments", 10)
    assert (past.state, past.acts[0].by, past.acts[0].why, past.acts[0].rows) == ("released", "ann", ME.why, 3)
    assert lake.told("data.released")[0]["by"] == "ann"
    before = len(lake.desk.arrivals("shop", "payments"))
    assert "released already" in desk.release("shop", "payments", entry.name, ME).message
    assert len(lake.desk.arrivals("shop", "payments")) == before
    with pytest.raises(Conflict, match="holds no rows any more"):
        desk.drop("shop", "payments", entry.name, requests.DropRows())


def test_some_rows_are_forced_and_the_rest_is_dropped(lake: Lake) -> None:
    desk, (entry,) = lake.desk.quarantines, lake.held()
    some = requests.ReleaseRows(rows=(4, 5), force=True, by="ann", why="they were real")
    with pytest.raises(InputRejected, match="holds no row 9"):
        desk.release("shop", "payments", entry.name, requests.ReleaseRows(rows=(4, 9)))
    desk.release("shop", "payments", entry.name, some)
    assert "released already" in desk.release("shop", "payments", entry.name, some).message
    lake.settle()
    assert lake.rows()["id"].to_list() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    (left,) = lake.held()
    assert (left.name, left.rows, left.reasons) == (entry.name, 1, {"amount:max": 1})
    assert left.acts[0].numbers == (4, 5)
    assert "past the contract" in left.acts[0].why
    desk.drop("shop", "payments", entry.name, requests.DropRows("bob", "a test"))
    assert "dropped already" in desk.drop("shop", "payments", entry.name, requests.DropRows()).message
    assert not lake.held()
    (past,) = desk.past("shop", "payments", 10)
    assert [(act.what, act.rows, act.by) for act in past.acts] == [("released", 2, "ann"), ("dropped", 1, "bob")]
    assert past.acts[1].reasons == {"amount:max": 1}
    assert lake.told("data.dropped")[0]["rows"] == 1
    with pytest.raises(NotFound, match="no entry 'zzz'"):
        desk.show("shop", "payments", "zzz", 1)


def test_force_does_not_lift_what_every_dataset_needs(lake: Lake) -> None:
    lake.land("b.parquet", payments(range(20, 23)).with_columns(id=pl.lit(20), amount=pl.lit(500.0)))
    lake.settle()
    entry = next(each for each in lake.held() if each.file == "b.parquet")
    assert entry.reasons == {"amount:max": 3, "id:unique": 2}
    lake.desk.quarantines.release("shop", "payments", entry.name, requests.ReleaseRows(force=True))
    lake.settle()
    assert lake.rows().filter(id=20).height == 1
    assert [each.reasons for each in lake.held() if each.file.startswith("released")] == [{"id:unique": 2}]


@pytest.mark.parametrize("do", ["release", "drop"])
def test_killed_at_any_point_rows_are_held_or_gone_and_never_both(lake: Lake, do: str) -> None:
    (entry,) = lake.held()
    act, killed = json.dumps({"do": do, "entry": entry.name}), 0
    for number in range(1, 50):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "dying.py"), str(lake.root), str(number), act],
            check=False, capture_output=True,
        )  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        killed += 1
        waits = [each for each in lake.desk.arrivals("shop", "payments") if each.origin == entry.id]
        held, past = lake.held(), lake.desk.quarantines.past("shop", "payments", 10)
        assert (len(held), len(past), len(waits)) in {(1, 0, 0), (0, 1, 1 if do == "release" else 0)}
    assert killed >= 4
    assert len(lake.told("data.released", "data.dropped")) == 1
    lake.contract("")
    lake.settle()
    assert lake.rows().height == (10 if do == "release" else 7)
