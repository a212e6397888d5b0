"""Which rows of a holdout a model server is asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl

from conveyor.delivery.logged import logged_scores


def test_rows_without_gaps_from_the_lowest_score_to_the_highest(tmp_path: Path) -> None:
    count = 1000
    native = [(at * 7919 % count) / count for at in range(count)]  # in no order
    a = [float(at) if at % 10 else (None if at % 20 else float("nan")) for at in range(count)]
    columns = {
        "a": pl.Series(a, dtype=pl.Float32),
        "b": pl.Series(range(count), dtype=pl.Float32),
        "__native__": native,
    }
    pl.DataFrame(columns | {"other": ["x"] * count}).write_parquet(tmp_path / "holdout.parquet")
    found = logged_scores(tmp_path / "holdout.parquet", ("b", "a"))
    assert len(found) == 200
    whole = [score for at, score in enumerate(native) if at % 10]
    scores = sorted(each.score for each in found)
    assert (scores[0], scores[-1]) == (min(whole), max(whole))
    assert max(b - a for a, b in pairwise(scores)) < 0.02
    for each in found:
        assert each.row[0] == each.row[1]
        assert native[int(each.row[0])] == each.score
    pl.DataFrame(columns).clear().write_parquet(tmp_path / "none.parquet")
    assert logged_scores(tmp_path / "none.parquet", ("a",)) == ()
    pl.DataFrame(columns).slice(1, 1).write_parquet(tmp_path / "one.parquet")
    assert [each.row for each in logged_scores(tmp_path / "one.parquet", ("a",))] == [(1.0,)]
