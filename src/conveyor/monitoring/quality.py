"""Quality on served predictions: scores joined with the labels that have come since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from conveyor.domain.monitor import Quality
from conveyor.domain.observation import Prediction
from conveyor.domain.statistics import bootstrap
from conveyor.errors import CorruptObject

MICROSECONDS = pl.Datetime("us", "UTC")
SCORED = {"key": pl.String, "version": pl.Int32, "score": pl.Float32, "time": MICROSECONDS, "at": MICROSECONDS}
"""The columns of a table of scored rows; `time` is the event time (null when the request had none), `at` wall time."""


def scored(predictions: Sequence[Prediction]) -> pl.DataFrame:
    """One row for each row scored, shadow left out. A request without keys is found by its prediction id."""
    counted = [each for each in predictions if each.mark != "shadow" and each.rows > 0]
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
        "key": [key for each in counted for key in (each.keys or _ids(each))],
        "version": np.repeat(np.array([each.version for each in counted], dtype=np.int32), rows),
        "score": np.frombuffer(b"".join(each.scores for each in counted), dtype="<f4"),
        "time": pl.Series(times, dtype=pl.Int64),
        "at": np.repeat(at, rows),
    }
    frame = pl.DataFrame(columns, schema_overrides={"key": pl.String})
    return frame.with_columns(pl.col("time", "at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


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
    newest = predictions.lazy().sort("at", maintain_order=True).unique("key", keep="last", maintain_order=True)
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
