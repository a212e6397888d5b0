"""`python -m conveyor.sdk.score SPEC.json OUT`: rows of a dataset are scored as the model server would, by batches.

A row that the server would refuse (a feature is missing, or is no finite 32-bit number) gets no score, and the reason.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from conveyor.domain import wire
from conveyor.domain.dataset import utc
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.model import ModelManifest
from conveyor.domain.scoring import MODEL, REFUSED, SCORE, ScoreReport, ScoreSpec
from conveyor.errors import InputRejected
from conveyor.sdk import process, sketch, table
from conveyor.sdk.describe import measure
from conveyor.sdk.forms.scorer import BATCH, Scorer, score
from conveyor.sdk.forms.table import open_model

OUTPUT, SKETCHES, REPORT = "scores.parquet", "sketches", "report.json"


def work(spec: ScoreSpec, out: Path) -> None:
    artifact = Path(spec.artifact)
    manifest = wire.from_json((artifact / MANIFEST).read_bytes(), ModelManifest)
    scorer = open_model(manifest, artifact / FILES.get(manifest.form, manifest.form), spec.trusted)
    path = out / OUTPUT
    rows, refused, times = 0, Counter[str](), list[datetime]()
    writer: pq.ParquetWriter | None = None
    schema: dict[str, str] = {}
    try:
        for batch in _batches(spec, manifest.signature.features):
            made = scored(spec, manifest, scorer, batch)
            rows += made.height
            refused.update(made[REFUSED].drop_nulls().to_list())
            times += [utc(each) for each in _ends(spec, batch)]
            told = made.to_arrow()
            if writer is None:
                writer = pq.ParquetWriter(path, told.schema, compression="zstd")
                schema = {name: str(dtype) for name, dtype in made.schema.items()}
            writer.write_table(told)
            print(f"{rows:,} rows", flush=True)
    finally:
        if writer is not None:
            writer.close()
    if writer is not None:
        process.write(out / SKETCHES, sketch.to_bytes(measure([path])))
    report = ScoreReport(rows, dict(refused), min(times, default=None), max(times, default=None), schema)
    process.write_json(out / REPORT, report)


def scored(spec: ScoreSpec, manifest: ModelManifest, scorer: Scorer, batch: pl.DataFrame) -> pl.DataFrame:
    """The columns to keep, the score (null where there is none), the model and why a row was refused."""
    features = manifest.signature.features
    matrix = table.matrix(batch, features)
    finite = np.isfinite(matrix)
    good = finite.all(axis=1)
    scores = np.full(len(matrix), np.nan, np.float32)
    if good.any():
        scores[good] = score(scorer, matrix[good], manifest.signature.score)
    reasons: list[str | None] = [None] * len(matrix)
    for row in np.flatnonzero(~good):
        name = features[int(np.argmin(finite[row]))]
        gap = batch[name][int(row)] is None
        reasons[int(row)] = f"{name} is missing" if gap else f"{name} is not a finite 32-bit number"
    for row in np.flatnonzero(good & ~np.isfinite(scores)):
        reasons[int(row)] = "the model gave no finite score"
    return batch.select(spec.keep).with_columns(
        pl.Series(SCORE, scores, pl.Float32, nan_to_null=True).set(pl.Series(~np.isfinite(scores)), None),
        pl.lit(spec.model.rpartition("/")[2]).alias(MODEL),
        pl.Series(REFUSED, reasons, pl.String),
    )


def _batches(spec: ScoreSpec, features: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Only the columns that are needed, only rows of the time that is wanted."""
    for path in spec.paths:
        frame = pl.scan_parquet(path, glob=False)
        schema = frame.collect_schema()
        _check(schema, features)
        wanted = list(dict.fromkeys([*features, *spec.keep, *([spec.time] if spec.time else [])]))
        frame = frame.select(wanted)
        if spec.time and spec.since is not None:
            frame = frame.filter(_at(spec.time, schema[spec.time]) >= utc(spec.since))
        if spec.time and spec.until is not None:
            frame = frame.filter(_at(spec.time, schema[spec.time]) <= utc(spec.until))
        rows = int(frame.select(pl.len()).collect().item())
        for start in range(0, rows, BATCH):
            yield frame.slice(start, BATCH).collect()


def _at(name: str, dtype: pl.DataType) -> pl.Expr:
    """The event time in UTC; a naive one is taken as UTC."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return pl.col(name).dt.convert_time_zone("UTC")
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _check(schema: pl.Schema, features: tuple[str, ...]) -> None:
    missing = [name for name in features if name not in schema]
    if missing:
        raise InputRejected(
            f"the rows have no {', '.join(missing[:5])}, which the model takes",
            hint="Score the dataset that has the features: what the model's steps make of its inputs, say.",
        )
    odd = [name for name in features if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null))]
    if odd:
        raise InputRejected(f"{odd[0]} has the type {schema[odd[0]]}; the model takes numbers", hint="Convert it.")


def _ends(spec: ScoreSpec, batch: pl.DataFrame) -> list[datetime]:
    found = (batch[spec.time].min(), batch[spec.time].max()) if spec.time else ()
    return [each for each in found if isinstance(each, datetime)]


if __name__ == "__main__":
    sys.exit(process.run(sys.argv[1:], ScoreSpec, work))
