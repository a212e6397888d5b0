"""A fetch takes over rows and cursor as one, whatever dies in between; a function is told what is wrong with it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conveyor.delivery.fetch import Fetches, FetchRecipe
from conveyor.domain import wire
from conveyor.domain.fetch import FetchReport, FetchSpec, FetchState
from conveyor.domain.run import Run, RunState, StepState
from conveyor.domain.step import StepError
from conveyor.engine.context import Context
from conveyor.errors import InputRejected
from conveyor.sdk import fetch
from conveyor.stores.collections import ARRIVALS, FETCHES, RUNS

from .conftest import Plane

DATA = '[data.orders]\nsource = "shop:orders"\nevery = "1m"\nstart = 5\n'


def state(context: Context) -> FetchState:
    with context.records.read() as tx:
        return tx.need(FETCHES, "shop/orders")


def open_runs(context: Context) -> list[Run]:
    with context.records.read() as tx:
        return tx.find(RUNS, where={"state": "running"})


def read(context: Context, run: Run, rows: int, cursor: Any) -> Run:
    """The run as its step left it."""
    outputs = {
        "fetch.json": context.objects.put(wire.to_json(FetchReport(rows, ("0.parquet",), cursor))),
        "0.parquet": context.objects.put(b"rows"),
    }
    step = replace(run.step("fetch"), state=StepState.SUCCEEDED, outputs=outputs)
    return replace(run.with_step(step), state=RunState.SUCCEEDED)


def test_one_at_a_time_and_the_cursor_moves_with_the_rows(plane: Plane) -> None:
    context = plane.context()
    plane.build(DATA)
    fetches, recipe = Fetches(context), FetchRecipe(context)
    for _ in range(5):
        fetches.turn()
    (run,) = open_runs(context)
    assert run.params["cursor"] == 5
    plane.clock.step(timedelta(hours=1))
    fetches.turn()
    assert open_runs(context) == [run]
    ended = read(context, run, 3, 8)
    with contextlib.suppress(ZeroDivisionError), context.transaction() as tx:
        recipe.complete(ended, tx)
        raise ZeroDivisionError  # a crash before the commit
    assert state(context).cursor == 5
    assert plane.arrivals() == []
    for _ in range(2):  # a second one, of a run that was believed lost, brings nothing
        with context.transaction() as tx:
            tx.put(RUNS, recipe.complete(ended, tx))
    (arrival,) = plane.arrivals()
    assert (state(context).cursor, arrival.state) == (8, "waiting")
    plane.clock.step(timedelta(hours=1))
    fetches.turn()
    assert open_runs(context) == []  # as long as rows wait
    with context.transaction() as tx:
        tx.put(ARRIVALS, replace(arrival, state="taken"))
    fetches.turn()
    (second,) = open_runs(context)
    assert second.params["cursor"] == 8
    with context.transaction() as tx:
        recipe.failed(replace(second, state=RunState.FAILED), tx)
        tx.put(RUNS, replace(second, state=RunState.FAILED))
    fetches.turn()
    assert open_runs(context) == []
    plane.clock.step(timedelta(seconds=10))
    fetches.turn()
    assert [run.params["cursor"] for run in open_runs(context)] == [8]


def test_secrets_that_are_not_set_are_named(plane: Plane) -> None:
    context = plane.context()
    plane.build(DATA + 'secrets = ["ORDERS_TOKEN"]\n')
    fetches = Fetches(context)
    fetches.turn()
    fetches.turn()
    (run,) = open_runs(context)
    with pytest.raises(InputRejected, match="secret ORDERS_TOKEN has no value"):
        FetchRecipe(context).prepare(run, run.step("fetch"), Path("job"))


SOURCE = """
import datetime
import polars as pl

def orders(cursor):
    start = cursor or 0
    for page in range(3):
        yield [{"id": start + page * 2 + n} for n in (1, 2)], start + page * 2 + 2

def frames(cursor):
    yield pl.DataFrame({"at": [datetime.datetime(2018, 4, 1)]}), datetime.datetime(2018, 4, 1)
    yield pl.LazyFrame({"at": []}), datetime.datetime(2018, 4, 2)

def rows(cursor):
    return [{"id": 1}]

def nothing(cursor):
    return 3

def strange(cursor):
    yield [{"id": 1}], object()

def fails(cursor):
    yield [{"id": 1}], 1
    raise ValueError("the shop is closed")
"""


def test_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(name: str, cursor: Any = None) -> FetchReport | StepError:
        spec = tmp_path / "spec.json"
        spec.write_bytes(wire.to_json(FetchSpec(cursor, f"shop_source:{name}")))
        out = tmp_path / f"out-{name}-{cursor}"
        if fetch.main([str(spec), str(out)]):
            return wire.from_json((out / "error.json").read_bytes(), StepError)
        return wire.from_json((out / "fetch.json").read_bytes(), FetchReport)

    assert run("orders") == FetchReport(6, ("0.parquet", "1.parquet", "2.parquet"), 6)
    assert run("orders", 6) == FetchReport(6, ("0.parquet", "1.parquet", "2.parquet"), 12)
    assert pl.read_parquet(tmp_path / "out-orders-6" / "2.parquet")["id"].to_list() == [11, 12]
    assert run("frames") == FetchReport(1, ("0.parquet",), "2018-04-02T00:00:00")
    for name, says in (
        ("rows", "shop_source:rows yielded dict, not a pair"),
        ("nothing", "shop_source:nothing returned int"),
        ("strange", "a cursor of type object cannot be kept"),
        ("fails", "ValueError: the shop is closed"),
    ):
        error = run(name)
        assert isinstance(error, StepError)
        assert says in error.message
