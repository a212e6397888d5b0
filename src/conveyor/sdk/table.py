"""Feature columns as numbers: what both the estimator and the ONNX graph see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conveyor.errors import InputRejected

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]


def rounded(frame: pl.LazyFrame, features: tuple[str, ...], apart: tuple[str | None, ...]) -> pl.LazyFrame:
    """Numbers rounded to single precision, which is all that a request carries, and kept as Float64.

    So a model is trained on the very values that it will be asked about. Without named features every float column is
    rounded; label, key and time (`apart`) stay as they are.
    """
    schema = frame.collect_schema()
    chosen = [name for name in (features or schema.names()) if name in schema and name not in apart]
    cast = [
        pl.col(name).cast(pl.Float32).cast(pl.Float64)
        for name in chosen
        if schema[name].is_float() or (name in features and (schema[name].is_numeric() or schema[name] == pl.Boolean))
    ]
    return frame.with_columns(cast)


def check_features(schema: pl.Schema, features: tuple[str, ...], label: str) -> None:
    if label in features:
        raise InputRejected(f"the label {label} is among the features", hint="Drop it before fitting.")
    for name in features:
        if name not in schema:
            raise InputRejected(
                f"feature {name} is not a column of the training input; it has {', '.join(schema.names())}",
                hint="Make features in the step that the model reads, so that the same code can serve them.",
            )
        if not (schema[name].is_numeric() or schema[name] == pl.Boolean):
            raise InputRejected(
                f"feature {name} is {schema[name]}, not a number",
                hint="Encode it as numbers in a step before training.",
            )


def numbers(table: pl.DataFrame, features: tuple[str, ...]) -> pl.DataFrame:
    """The features as Float64 columns with single-precision values; null becomes NaN."""
    return table.select(pl.col(name).cast(pl.Float32).cast(pl.Float64).fill_null(float("nan")) for name in features)


def matrix(table: pl.DataFrame, features: tuple[str, ...]) -> Matrix:
    """float32 [rows, features], C order."""
    import numpy as np

    chosen = table.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in features)
    return np.ascontiguousarray(chosen.to_numpy(), dtype=np.float32)
