"""What a model will score once it is served, for code that judges models itself: a backtest, a notebook, a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from conveyor.sdk import table
from conveyor.sdk.convert import convert, positive_of
from conveyor.sdk.handlers.table import handler_for

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Served:
    """`scores` are of the form that would be kept; `parity` is the largest difference from the model's own outputs."""

    scores: Scores
    form: str
    parity: float


def as_trained(rows: pl.DataFrame, features: tuple[str, ...]) -> pl.DataFrame:
    """The features as training gives them: Float64 columns with values that single precision holds, null as NaN."""
    return table.numbers(rows, features)


def as_served(
    model: Any,
    rows: pl.DataFrame,
    features: tuple[str, ...],
    *,
    tolerance: float = 1e-4,
    positive: str = "",
    trusted: tuple[str, ...] = (),
) -> Served:
    """Scores of `rows` by the fitted model in the form that a training would keep; refused where no form agrees."""
    handler = handler_for(model, "as_served")
    classes = handler.classes(model)
    column = positive_of(classes, positive)
    given = handler.predict(model, table.numbers(rows, features), features)
    matrix = table.matrix(rows, features)
    made = convert(handler, model, features, matrix, given, tolerance, classes, column, trusted)
    return Served(made.scores.astype("float64"), made.conversion.form, made.parity.max_abs_difference)
