"""Batch scoring without a server: what a row that the server would refuse is told, and that batches do not matter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conveyor.domain import wire
from conveyor.domain.dataset import Part
from conveyor.domain.scoring import ScoreReport, ScoreSpec, groups
from conveyor.errors import InputRejected
from conveyor.sdk import score

from .support import FEATURES, Artifact

START = datetime(2026, 3, 1, tzinfo=UTC)


def done(artifact: Artifact, tmp_path: Path, frame: pl.DataFrame, **more: object) -> tuple[pl.DataFrame, ScoreReport]:
    path, out = tmp_path / "rows.parquet", tmp_path / "out"
    out.mkdir(exist_ok=True)
    frame.write_parquet(path)
    score.work(ScoreSpec(str(artifact.directory), "shop/fraud@3", (str(path),), ("id",), "at", **more), out)  # type: ignore[arg-type]
    report = wire.from_json((out / score.REPORT).read_bytes(), ScoreReport)
    return (pl.read_parquet(out / score.OUTPUT) if report.rows else pl.DataFrame()), report


def test_rows_that_cannot_be_scored_say_why(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, random = FEATURES, np.random.default_rng(0)
    frame = pl.DataFrame({name: random.random(10) for name in names}).with_columns(
        id=pl.int_range(10), at=pl.Series([START + timedelta(hours=n) for n in range(10)])
    )
    worse = frame.with_columns(
        pl.when(pl.col("id") == 2).then(None).otherwise(pl.col(names[0])).alias(names[0]),
        pl.when(pl.col("id") == 4)
        .then(1e300)
        .when(pl.col("id") == 5)
        .then(float("nan"))
        .otherwise(pl.col(names[1]))
        .alias(names[1]),
    )
    made, report = done(artifact, tmp_path, worse)
    assert report.refused == {f"{names[0]} is missing": 1, f"{names[1]} is not a finite 32-bit number": 2}
    assert made.filter(pl.col("score").is_null())["id"].to_list() == [2, 4, 5]
    assert made.filter(pl.col("refused").is_null() & pl.col("score").is_null()).is_empty()
    assert (report.rows, report.first, report.last) == (10, START, START + timedelta(hours=9))

    whole, _ = done(artifact, tmp_path, frame)
    monkeypatch.setattr(score, "BATCH", 3)
    pieces, _ = done(artifact, tmp_path, frame)
    assert np.allclose(whole["score"], pieces["score"], rtol=0, atol=1e-6)
    late, _ = done(artifact, tmp_path, frame, since=START + timedelta(hours=8))
    assert late["id"].to_list() == [8, 9]
    none, report = done(artifact, tmp_path, frame, since=START + timedelta(days=8))
    assert report.rows == none.height == 0
    with pytest.raises(InputRejected, match=f"the rows have no {names[0]}"):
        done(artifact, tmp_path, frame.drop(names[0]))
    with pytest.raises(InputRejected, match="the model takes numbers"):
        done(artifact, tmp_path, frame.with_columns(pl.lit("x").alias(names[0])))


def test_parts_go_together_up_to_a_number_of_rows() -> None:
    parts = [Part(str(n), rows, 1) for n, rows in enumerate([40, 60, 1, 500, 20, 80])]
    assert [[part.rows for part in group] for group in groups(parts, 100)] == [[40, 60], [1], [500], [20, 80]]
    assert groups([], 100) == ()
