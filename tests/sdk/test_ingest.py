from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conveyor.domain import wire
from conveyor.domain.dataset import IngestedFile, IngestReport
from conveyor.domain.project import DataConfig, Label
from conveyor.domain.step import IngestFile, IngestSpec
from conveyor.sdk import ingest

DATA = DataConfig(
    "payments",
    time="at",
    key="id",
    label=Label("fraud", timedelta(days=7)),
    rules={"amount": {"min": 0, "max": 1000}, "kind": {"one_of": ["card", "cash"]}},
)
DAY = datetime(2018, 4, 1)


def rows(count: int = 5, **columns: Any) -> pl.DataFrame:
    made = {
        "id": list(range(count)),
        "at": [DAY + timedelta(hours=count - n) for n in range(count)],
        "amount": [float(n) for n in range(count)],
        "kind": ["card"] * count,
        "fraud": [0] * count,
    }
    return pl.DataFrame(made | columns)


SCHEMA = {name: str(dtype) for name, dtype in rows().schema.items()}


def take(
    out: Path, files: dict[str, pl.DataFrame | bytes], schema: dict[str, str] | None = SCHEMA, data: DataConfig = DATA
) -> IngestReport:
    """Through the entry point; stored under digests, as the control plane does: only `name` tells the format."""
    out.mkdir(exist_ok=True)
    given = []
    for index, (name, content) in enumerate(files.items()):
        path = out / f"object-{index}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.write_parquet(path)
        given.append(IngestFile(str(path), name))
    (out / "spec.json").write_bytes(wire.to_json(IngestSpec(data, tuple(given), schema)))
    assert ingest.main([str(out / "spec.json"), str(out)]) == 0
    return wire.from_json((out / "report.json").read_bytes(), IngestReport)


def test_good_rows_are_kept_by_event_time_with_schema_and_profile(tmp_path: Path) -> None:
    report = take(tmp_path, {"a.parquet": rows()}, schema=None)
    (file,) = report.files
    assert (file.rows, file.quarantined, file.error, file.quarantine) == (5, 0, None, None)
    assert file.first == datetime(2018, 4, 1, 1, tzinfo=UTC)
    assert file.last == datetime(2018, 4, 1, 5, tzinfo=UTC)
    assert file.output is not None
    assert pl.read_parquet(tmp_path / file.output).equals(rows().sort("at"))
    assert report.schema == SCHEMA
    assert report.profile is not None
    amount = report.profile.columns["amount"]
    assert (report.profile.rows, amount.nulls, amount.min, amount.max, amount.mean) == (5, 0, 0.0, 4.0, 2.0)
    assert report.profile.columns["kind"].min == "card"


def test_bad_rows_are_quarantined_with_their_reasons_and_the_rest_is_taken(tmp_path: Path) -> None:
    table = rows(
        8,
        id=[0, 1, 1, None, 4, 5, 6, 7],
        amount=[1.0, 2.0, 3.0, 4.0, -5.0, float("nan"), 7.0, 2000.0],
        kind=["card", "cash", "cash", "card", "card", "card", "cheque", "cheque"],
        at=[None, *[DAY + timedelta(hours=n) for n in range(7)]],
    )
    (file,) = take(tmp_path, {"a.parquet": table}).files
    assert (file.rows, file.quarantined, file.error) == (1, 7, None)
    assert file.reasons == {
        "amount:max": 2, "amount:min": 2, "at:not_null": 1, "id:not_null": 1, "id:unique": 1, "kind:one_of": 2,
    }  # fmt: skip
    bad = pl.read_parquet(tmp_path / str(file.quarantine))
    assert bad.drop("__row__", "__rule__", "__reason__").equals(table[bad["__row__"].to_list()])
    reasons = dict(zip(bad["__row__"], bad["__reason__"], strict=True))
    assert reasons[4] == "amount = -5.0 must be at least 0"
    assert reasons[7] == "amount = 2000.0 must be at most 1000; kind = 'cheque' must be one of ['card', 'cash']"
    assert reasons[3] == "id must not be null"
    assert pl.read_parquet(tmp_path / str(file.output)).equals(table[[1]])
    assert dict(zip(bad["__row__"], bad["__rule__"], strict=True))[7] == "amount:max; kind:one_of"


def whole(table: pl.DataFrame, folder: Path) -> bytes:
    path = folder / "whole.parquet"
    table.write_parquet(path)
    return path.read_bytes()


def test_files_that_cannot_be_taken_are_refused_alone(tmp_path: Path) -> None:
    good = whole(rows(), tmp_path)
    files: dict[str, tuple[pl.DataFrame | bytes, str]] = {
        "cut.parquet": (good[: len(good) // 2], "cut.parquet is truncated: .* breaks off after"),
        "other.parquet": (b"<html>not found</html>", "is not a Parquet file"),
        "damaged.parquet": (good[:4] + b"\xff" * (len(good) - 8) + good[-4:], "cannot be read as parquet"),
        "empty.parquet": (b"", r"empty.parquet is empty \(0 bytes\)"),
        "none.parquet": (rows(0, id=[]).cast(rows().schema), "none.parquet has no rows"),
        "lacks.parquet": (rows().drop("amount"), "column amount is missing .expected Float64"),
        "more.parquet": (rows().with_columns(x=1), "column x is not in the dataset's schema"),
        "type.parquet": (rows(amount=["a"] * 5), "column amount: expected Float64, found String"),
        "time.parquet": (rows(at=["soon"] * 5), "column at: expected Datetime.*, found String"),
        "two.parquet": (rows(id=["x"] * 5).drop("kind"), "kind is missing .*; column id: expected Int64, found String"),
        "latin.csv": ("id,at,amount,kind,fraud\n1,2018-04-01T00:00:00,2.5,café,0\n".encode("latin-1"),
                      "latin.csv is not UTF-8: line 2 holds the byte 0xe9"),
        "words.csv": (b"id,at,amount,kind,fraud\n1,2018-04-01T00:00:00,2.5,card,0\n2,2018-04-01T00:00:00,much,card,0\n",
                      "column amount: expected Float64, found String .'much' in row 1"),
        "ragged.csv": (b"id,at\n1,2,3\n", "cannot be read as csv"),
        "broken.ndjson": (b'{"id": 1,\n', "cannot be read as ndjson"),
        "notes.xlsx": (b"x", "format .xlsx is not known"),
        "good.parquet": (rows(), ""),
    }  # fmt: skip
    report = take(tmp_path / "out", {name: content for name, (content, _) in files.items()})
    by_name = {file.name: file for file in report.files}
    check_messages(by_name, {name: says for name, (_, says) in files.items() if says})
    assert by_name["good.parquet"].rows == 5
    assert report.schema == SCHEMA
    assert report.profile is not None
    assert report.profile.rows == 5
    assert sorted(path.name for path in (tmp_path / "out").glob("*.parquet")) == ["15.parquet"]


def check_messages(found: dict[str, IngestedFile], wanted: dict[str, str]) -> None:
    for name, says in wanted.items():
        assert re.search(says, str(found[name].error)), f"{name}: {found[name].error}"
        assert found[name].hint, name


def test_text_formats_and_narrower_numbers_are_brought_to_the_schema(tmp_path: Path) -> None:
    csv = b"fraud,kind,amount,at,id\n0,card,3,2018-04-02T10:00:00,7\n1,cash,,2018-04-02 11:00:00,8\n"
    json = b'{"id": 9, "at": "2018-04-02T12:00:00", "amount": 4, "kind": "card", "fraud": 0}\n'
    narrow = rows().with_columns(pl.col("id").cast(pl.Int32), pl.col("amount").cast(pl.Float32))
    report = take(tmp_path, {"a.csv": csv, "b.ndjson": json, "c.parquet": narrow})
    assert [(file.rows, file.error) for file in report.files] == [(2, None), (1, None), (5, None)]
    merged = pl.scan_parquet([tmp_path / str(file.output) for file in report.files]).collect()
    assert {name: str(dtype) for name, dtype in merged.schema.items()} == SCHEMA
    assert merged.filter(id=9)["at"].item() == datetime(2018, 4, 2, 12)
    assert merged.filter(id=8)["amount"].item() is None


def test_the_first_version_needs_what_the_config_names(tmp_path: Path) -> None:
    files: dict[str, pl.DataFrame | bytes] = {
        "a.parquet": rows().drop("fraud"),
        "b.csv": b"id,at,amount,kind,fraud\n1,tomorrow,2.5,card,0\n",
        "c.csv": b"id,at,amount,kind,fraud\n1,2018-04-01T00:00:00,2.5,card,0\n",
        "d.parquet": rows(),
    }
    lacks, words, first, second = take(tmp_path, files, schema=None).files
    assert "label column fraud is missing; the file has id, at, amount, kind" in str(lacks.error)
    assert "event-time column at: expected Datetime" in str(words.error)
    assert (first.rows, first.error) == (1, None)
    assert (second.rows, second.error) == (5, None)


def test_a_contract_that_does_not_fit_the_file_refuses_it(tmp_path: Path) -> None:
    for rules, says in (
        ({"amuont": {"min": 0}}, "the contract names column amuont"),
        ({"kind": {"min": 0}}, "rule kind:min = 0 does not fit column kind of type String"),
        ({"kind": {"type": "number"}}, "column kind: expected number, found String"),
    ):
        (file,) = take(tmp_path, {"a.parquet": rows()}, data=DataConfig("payments", rules=rules)).files
        assert says in str(file.error)
    (file,) = take(tmp_path, {"a.parquet": rows()}, data=DataConfig("p", rules={"id": {"type": "Int64"}})).files
    assert (file.rows, file.first) == (5, None)


MODEL = """
import pandera.polars as pa
class Payments(pa.DataFrameModel):
    amount: float = pa.Field(ge=0)
    kind: str = pa.Field(nullable=False)
class Stricter(Payments):
    currency: str
"""


def test_a_pandera_model_quarantines_rows_and_refuses_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_contracts.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    table = rows(kind=["card", None, "card", "card", "card"], amount=[1.0, 2.0, -3.0, 4.0, 5.0])
    config = DataConfig("payments", time="at", contract="shop_contracts:Payments")
    (file,) = take(tmp_path / "rows", {"a.parquet": table}, data=config).files
    assert (file.rows, file.quarantined, file.error) == (3, 2, None)
    bad = pl.read_parquet(tmp_path / "rows" / str(file.quarantine)).sort("__row__")
    assert bad["__row__"].to_list() == [1, 2]
    assert bad["__reason__"].to_list() == [
        "kind = null breaks not_nullable",
        "amount = -3.0 breaks greater_than_or_equal_to(0)",
    ]
    config = DataConfig("payments", time="at", contract="shop_contracts:Stricter")
    (file,) = take(tmp_path / "file", {"a.parquet": table}, data=config).files
    assert file.rows == 0
    assert "currency" in str(file.error)
    assert sys.modules.pop("shop_contracts")
