from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain.step import InputSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions, inputs
from conveyor.sdk.run import Run

START = datetime(2018, 4, 1)
moments = st.integers(0, 10**12).map(lambda us: START + timedelta(microseconds=us))
units: st.SearchStrategy[Any] = st.sampled_from(["ms", "us", "ns"])


def as_polars(given_form: Any) -> pl.DataFrame:
    if isinstance(given_form, pl.LazyFrame):
        return given_form.collect()
    if isinstance(given_form, pd.DataFrame):
        return pl.from_pandas(given_form)
    if isinstance(given_form, pa.Table):
        return pl.DataFrame(pl.from_arrow(given_form))
    return pl.read_parquet(given_form) if isinstance(given_form, Path) else given_form


@settings(deadline=None, max_examples=40)
@given(
    times=st.lists(st.none() | moments, min_size=1, max_size=8),
    known=moments,
    unit=units,
    zone=st.sampled_from([None, "UTC", "Europe/Berlin"]),
    form=st.sampled_from(inputs.FORMS),
)
def test_no_label_reaches_user_code_before_it_is_known(
    times: list[datetime | None], known: datetime, unit: Any, zone: str | None, form: str
) -> None:
    column = pl.Series("t", times, pl.Datetime("us")).cast(pl.Datetime(unit))
    stored = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else column
    table = pl.DataFrame({"row": range(len(times)), "t": stored, "y": [1] * len(times)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "0a1b")  # an object: no suffix
        table.write_parquet(path)
        spec = InputSpec("rows", (str(path),), "t", None, "y", known.replace(tzinfo=UTC))
        seen = as_polars(inputs.deliver(inputs.load(spec), form, "rows", Path(folder, "scratch"))).sort("row")
    for at, label in zip(column.to_list(), seen["y"].to_list(), strict=True):
        assert (label is not None and label == label) == (at is not None and at <= known)


def test_a_row_before_since_is_not_read_and_dates_count_from_midnight(tmp_path: Path) -> None:
    path = tmp_path / "part"
    pl.DataFrame({"d": [date(2018, 4, n) for n in (1, 2, 3)], "y": [0, 1, 0]}).write_parquet(path)
    at = datetime(2018, 4, 2, tzinfo=UTC)
    seen = inputs.load(InputSpec("days", (str(path),), "d", None, "y", known_until=at, since=at)).collect()
    assert seen.rows() == [(date(2018, 4, 2), 1), (date(2018, 4, 3), None)]


@pytest.mark.parametrize(
    ("time", "label", "says"),
    [
        (None, "y", "has no event-time column"),
        ("nope", "y", "lacks its event-time column nope; it has t, y, n"),
        ("t", "nope", "lacks its label column nope"),
        ("n", "y", "event-time column n is Int64"),
    ],
)
def test_what_cannot_be_masked_is_not_given_out(time: str | None, label: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "part"
    pl.DataFrame({"t": [START], "y": [1], "n": [1]}).write_parquet(path)
    with pytest.raises(InputRejected, match=says) as refused:
        inputs.load(InputSpec("rows", (str(path),), time, None, label, START.replace(tzinfo=UTC)))
    assert refused.value.hint


def test_a_damaged_object_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(InputRejected, match="input rows"):
        inputs.load(InputSpec("rows", (str(path),)))


MODULE = """
import typing
from pathlib import Path
import pandas as pd, polars as pl, pyarrow as pa
def typed(a, b: pl.LazyFrame, c: pl.DataFrame, d: pd.DataFrame, e: pa.Table, f: Path):
    return [type(one).__module__.split(".")[0] + "." + type(one).__name__ for one in (a, b, c, d, e)] + [f.is_file()]
def text(a: "pl.DataFrame", b: "nowhere.LazyFrame | None" = None):
    return a
def asks(a, depth: int, params: dict, seed: int, run):
    run.log_metric("depth", depth)
    return depth, params, seed
def wrong(transcations): ...
def odd(a: dict): ...
def greedy(a, **rest): return rest
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    name = "user_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(function: str, names: str, params: dict[str, Any] | None = None, **more: Any) -> Any:
        frames = {one: pl.LazyFrame({"x": [1.0, 2.0]}) for one in names.split()}
        return functions.call(f"{name}:{function}", frames, params or {}, scratch=tmp_path / "scratch", **more)

    return run


def test_inputs_come_in_the_type_of_their_annotation(call: Callable[..., Any]) -> None:
    found = call("typed", "a b c d e f")
    kinds = ["polars.LazyFrame", "polars.LazyFrame", "polars.DataFrame", "pandas.DataFrame", "pyarrow.Table", True]
    assert found == kinds
    assert isinstance(call("text", "a"), pl.DataFrame)
    run = Run()
    assert call("asks", "a", {"depth": 3}, run=run, seed=7) == (3, {"depth": 3}, 7)
    assert run.metrics == {"depth": 3.0}
    assert call("greedy", "a", {"trees": 9}) == {"trees": 9}


@pytest.mark.parametrize(
    ("function", "params", "says", "hint"),
    [
        ("wrong", {}, "argument transcations, but the inputs are transactions, a", "Did you mean transactions?"),
        ("odd", {}, "cannot be given as <class 'dict'>", "pl.LazyFrame, pl.DataFrame"),
        ("text", {"trees": 1}, "takes no argument for the param trees", "Add an argument trees"),
        ("txet", {}, "has no txet", "Did you mean"),
    ],
)
def test_a_call_that_cannot_be_made_says_why(
    call: Callable[..., Any], function: str, params: dict[str, Any], says: str, hint: str
) -> None:
    with pytest.raises(InputRejected, match=says) as refused:
        call(function, "transactions a", params)
    assert hint in refused.value.hint


def test_a_module_that_is_not_there_is_told_from_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_package_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputRejected, match="no module named a_package_nobody_has") as refused:
        functions.find("needs_more:build")
    assert "requirements" in refused.value.hint
    with pytest.raises(InputRejected, match="no module named shopp") as refused:
        functions.find("shopp.features:build")
    assert "committed" in refused.value.hint
