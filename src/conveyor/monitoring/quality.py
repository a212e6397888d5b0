"""Quality on served predictions: scores joined with the labels that have come since."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from conveyor.domain import families
from conveyor.domain.monitor import Quality
from conveyor.domain.observation import Prediction
from conveyor.domain.statistics import bootstrap
from conveyor.errors import CorruptObject
from conveyor.monitoring.windows import matrices

MICROSECONDS = pl.Datetime("us", "UTC")
SCORED: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "key": pl.String,
    "time": MICROSECONDS,
    "at": MICROSECONDS,
    "score": pl.Float32,
    "version": pl.Int32,
    "mark": pl.String,
}
"""The columns of a table of scored rows; features follow. `time` is the event time (a client that sends none means
now), `at` wall time. `key` is null where the request had none."""


def scored(predictions: Sequence[Prediction], features: Sequence[str] = ()) -> pl.DataFrame:
    """One row for each row scored. Row i of a request of several has the id `id/i`."""
    counted = [each for each in predictions if each.rows > 0]
    for each in counted:
        if len(each.scores) != 4 * each.rows or len(each.keys) not in (0, each.rows) or len(each.times) > each.rows:
            raise CorruptObject(
                f"prediction {each.id} says {each.rows} rows, but has {len(each.scores)} bytes of scores, "
                f"{len(each.keys)} keys and {len(each.times)} times",
                hint="Its segment is damaged; set it aside.",
            )
    rows = np.array([each.rows for each in counted], dtype=np.int64)
    times = [time for each in counted for time in (each.times or (None,) * each.rows)]
    at = np.array([each.at * 1e6 for each in counted]).astype(np.int64)
    columns = {
        "id": [id_ for each in counted for id_ in _ids(each)],
        "key": [key for each in counted for key in (each.keys or (None,) * each.rows)],
        "time": pl.Series(times, dtype=pl.Int64),
        "at": np.repeat(at, rows),
        "score": np.frombuffer(b"".join(each.scores for each in counted), dtype="<f4"),
        "version": np.repeat(np.array([each.version for each in counted], dtype=np.int32), rows),
        "mark": [each.mark for each in counted for _ in range(each.rows)],
    }
    frame = pl.DataFrame(columns, schema_overrides=dict.fromkeys(("id", "key", "mark"), pl.String))
    frame = frame.with_columns(pl.coalesce("time", "at").alias("time"))
    frame = frame.with_columns(pl.col("time", "at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    return frame.hstack(_features(counted, features)) if features else frame


def sampled(frame: pl.DataFrame, share: float) -> pl.DataFrame:
    """The rows whose ids say so: always the same, and no likelier with one score or label than another."""
    if share >= 1:
        return frame
    kept = [zlib.crc32(id_.encode()) < share * 2**32 for id_ in frame["id"].to_list()]
    return frame.filter(pl.Series(kept, dtype=pl.Boolean))


def scored_of(frame: pl.DataFrame) -> pl.DataFrame:
    """What was kept of scored rows, in our order; an earlier Conveyor kept some columns only, the rest is filled in."""
    if "id" not in frame.columns:
        frame = frame.with_columns(
            pl.col("key").alias("id"), pl.lit("").alias("mark"), pl.lit(None, pl.Int32).alias("release")
        )
    ours = [name for name in SCORED if name in frame.columns]
    return frame.select(*ours, *(name for name in frame.columns if name not in SCORED))


def _features(predictions: Sequence[Prediction], names: Sequence[str]) -> pl.DataFrame:
    """As the model saw them: single precision; NaN is null."""
    matrix, _ = matrices(predictions, len(names))
    columns = {families.column(name): matrix[:, place] for place, name in enumerate(names)}
    return pl.DataFrame(columns).fill_nan(None)


def joined(
    predictions: pl.DataFrame, labels: pl.DataFrame, *, key: str, label: str, positive: str = ""
) -> pl.DataFrame:
    """Scored rows whose label is known, with it as "label" (Float64); 1 is the class `positive` where one is named.

    `labels` may have more columns and null labels. A key that was scored or labelled more than once counts once, by
    the newest score and the last label. Keys are compared as text, which is what requests carry.
    """
    truth = pl.col(label).cast(pl.String) == positive if positive else pl.col(label)
    known = labels.lazy().select(pl.col(key).cast(pl.String).alias("key"), truth.cast(pl.Float64).alias("label"))
    known = known.drop_nulls().unique("key", keep="last")
    named = predictions.lazy().with_columns(pl.coalesce("key", "id").alias("key"))
    newest = named.sort("at", maintain_order=True).unique("key", keep="last", maintain_order=True)
    return newest.join(known, on="key", how="inner", maintain_order="left").collect()


def quality(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    metric: str = "average_precision",
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Quality:
    """The metric of scores [rows] against labels [rows], with a bootstrap interval.

    Scores that are NaN or infinite are left out: they are a data fault, which the windows report.
    """
    truth, given = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    finite = np.isfinite(given)
    truth, given = truth[finite], given[finite]
    figures = bootstrap(metric, truth, given, resamples=resamples, confidence=confidence, seed=seed)
    value, low, high = (figure if math.isfinite(figure) else None for figure in figures)
    return Quality(metric, int(truth.size), int((truth == 1.0).sum()), value, low, high, confidence)


def measured(frame: pl.DataFrame, *, id: str, model: str, version: int, metric: str, resamples: int = 200) -> Quality:
    """`quality` of a joined frame, as a record: of which version, and over which event times."""
    plain = quality(frame["score"].to_numpy(), frame["label"].to_numpy(), metric=metric, resamples=resamples)
    times = frame["time"].drop_nulls()
    first, last = (times.min(), times.max()) if len(times) else (None, None)
    return replace(
        plain,
        model=model,
        version=version,
        id=id,
        first=first if isinstance(first, datetime) else None,
        last=last if isinstance(last, datetime) else None,
    )


def _ids(prediction: Prediction) -> tuple[str, ...]:
    if prediction.rows == 1:
        return (prediction.id,)
    return tuple(f"{prediction.id}/{row}" for row in range(prediction.rows))
