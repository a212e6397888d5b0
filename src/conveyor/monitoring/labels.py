"""Labels that were sent, joined with the predictions that they are of."""

from __future__ import annotations

import polars as pl


def attached(predictions: pl.LazyFrame, labels: pl.LazyFrame) -> pl.LazyFrame:
    """All predictions, with `label` (text) and `told`, its time; null where none came.

    By prediction id or by key. Of several the newest counts, so a correction takes over and a repeated label changes
    nothing; of two with one time the one that came last.
    """
    ordered = labels.sort("time", maintain_order=True)

    def newest(by: str, suffix: str) -> pl.LazyFrame:
        found = ordered.filter(pl.col(by).is_not_null()).unique(by, keep="last", maintain_order=True)
        return found.select(by, pl.col("label").alias(f"label{suffix}"), pl.col("time").alias(f"told{suffix}"))

    joined = predictions.join(newest("id", "_by_id"), on="id", how="left", maintain_order="left").join(
        newest("key", "_by_key"), on="key", how="left", maintain_order="left"
    )
    by_id = (pl.col("told_by_id") >= pl.col("told_by_key")).fill_null(pl.col("told_by_id").is_not_null())
    label = pl.when(by_id).then("label_by_id").otherwise("label_by_key").alias("label")
    told = pl.when(by_id).then("told_by_id").otherwise("told_by_key").alias("told")
    return joined.with_columns(label, told).drop("label_by_id", "label_by_key", "told_by_id", "told_by_key")


def truth(positive: str) -> pl.Expr:
    """A label's text as a number: 1 is the class `positive` where one is named. Text that is none is null."""
    label = pl.col("label")
    return (label == positive).cast(pl.Float64) if positive else label.cast(pl.Float64, strict=False)
