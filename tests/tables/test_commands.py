"""The commands for tables, as a person and a program read them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from conveyor.cli import main
from conveyor.domain.project import DataConfig

from .place import Place, payments

DATA = DataConfig("payments", time="at", key="id", mode="upsert")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("commands"), DATA, DataConfig("empty"))
    made.take("payments", inline=True, a=payments(0), b=payments(1))
    made.take("payments", inline=True, c=payments(2, 2000, amount=[200.0 + n / 10 for n in range(2000)]))
    made.take("payments", inline=True, d=payments(0)[:7].with_columns(kind=pl.lit("\x1b[31mred")))
    with made.api():
        yield made
    made.close()


class Called:
    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        for name in list(os.environ):
            if name.startswith("CONVEYOR_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("CONVEYOR_HOME", str(place.settings.home))
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        self._monkeypatch.setattr("sys.argv", ["conveyor", "data", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        self.err = said.err
        return said.out


@pytest.fixture
def data(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(place, monkeypatch, capsys)


def test_show_tells_schema_range_and_profile(data: Called) -> None:
    text, both = data("show", "payments@v1"), pl.concat([payments(0), payments(1)])
    assert "payments@v1 of shop" in text
    assert "1,000 rows in 2 parts" in text
    assert "from 2018-04-01 00:00:00 to 2018-04-02 23:57:06" in text
    (amount,) = [line for line in text.splitlines() if line.startswith("amount")]
    assert amount.split()[:4] == ["amount", "Float64", "0", str(both["amount"].n_unique())]
    assert "card (666), cash (334)" in text
    view = json.loads(data("show", "payments", "--json"))
    assert view["version"]["version"] == 3
    assert view["version"]["profile"]["columns"]["id"]["nulls"] == 0
    assert [part["rows"] for part in view["manifest"]["parts"]] == [493, 500, 2000, 7]


def test_head_gives_rows_and_hostile_text_moves_no_cursor(data: Called) -> None:
    assert json.loads(data("head", "payments@v1", "-n", "3", "--json")) == json.loads(payments(0)[:3].write_json())
    late = json.loads(data("head", "payments@v2", "--window", "1d", "--json"))
    assert {row["id"] // 100_000 for row in late} == {2}
    assert "card" in data("head", "payments@v1")
    data("head", "payments", "-n", "0", code=1)
    assert "\x1b" not in data("show", "payments")
    hostile = data("head", "payments", "-n", "5000")
    assert "?[31mred" in hostile
    assert "\x1b" not in hostile


def test_diff_counts_rows_and_names_what_moved(data: Called) -> None:
    text = data("diff", "payments@v1", "v2")
    assert "payments@v1 -> payments@v2: 2,000 rows added, 0 removed, 0 changed" in text
    assert "amount (PSI" in text
    assert "moved away from payments@v1 in payments@v2; the limit is 0.25." in text
    assert "kind" not in text.splitlines()[-1]
    found = json.loads(data("diff", "payments@v2", "payments@v3", "--json"))
    assert found["rows"] == {"added": 0, "after": 3000, "before": 3000, "changed": 7, "removed": 0}
    assert [c["name"] for c in found["columns"] if c["shift"] and c["shift"]["psi"] > 0.25] == []
    back = json.loads(data("diff", "payments@v2", "v1", "--json"))
    assert (back["rows"]["added"], back["rows"]["removed"]) == (0, 2000)


def test_export_writes_whole_files(data: Called, tmp_path: Path) -> None:
    rows = pl.concat([payments(0), payments(1)])
    for name in ("out.parquet", "out.csv"):
        assert "1,000 rows of payments@v1" in data("export", "payments@v1", str(tmp_path / name))
    assert pl.read_parquet(tmp_path / "out.parquet").equals(rows)
    assert pl.read_csv(tmp_path / "out.csv", try_parse_dates=True)["amount"].equals(rows["amount"])
    said = json.loads(data("export", "payments@v2", str(tmp_path / "w.csv"), "--window", "1d", "--json"))
    assert said["rows"] == 2000
    data("export", "payments@v1", str(tmp_path / "out.xlsx"), code=1)
    assert ".parquet nor .csv" in data.err
    data("export", "payments@v1", str(tmp_path / "none" / "out.csv"), code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.parquet", "w.csv"]


def test_tags_move_and_keep_their_history(data: Called, place: Place) -> None:
    assert data("tag", "payments@v1", "golden").strip() == "golden points to v1"
    assert data("tag", "payments@v1", "golden").strip() == "golden points to v1 already"
    assert "before to v1" in data("tag", "payments@latest", "golden", "--reason", "audited")
    assert "tags golden" in data("show", "payments@golden")
    assert "payments@v3 of shop" in data("show", "payments@golden")
    data("tag", "payments", "golden", "--remove")
    data("show", "payments@golden", code=1)
    assert "there are no tags" in data.err
    found = json.loads(data("tag", "payments", "--json"))
    assert found["tags"] == []
    moves = [(move["previous"], move["version"], move["reason"]) for move in found["moves"]]
    assert moves[::-1] == [(None, 1, "asked for by a person"), (1, 3, "audited"), (3, None, "asked for by a person")]
    assert "golden from v3 to nothing" in data("tag", "payments")
    assert [event.data["version"] for event in place.events("data.tagged")] == [1, 3, None]
    for words in (("payments@v9", "x"), ("payments", "v1"), ("payments", "latest"), ("payments", "../x")):
        data("tag", *words, code=1)
        assert "error: " in data.err
    data("tag", "payments", "never", "--remove", code=1)


def test_what_is_not_there_is_said_with_what_is(data: Called) -> None:
    for reference, says in {
        "payments@v9": "versions up to v3",
        "payments@2001-01-01": "no version 2001-01-01",
        "nothing": "tables: empty, payments",
        "empty": "has no version yet",
        "pay ments": "is not the name of a dataset",
        "other/payments": "other",
    }.items():
        data("show", reference, code=1)
        assert says in data.err, reference
