"""Behavioural tests of a model, written by the user: a module named by `behaviour` with functions `check_…`.

Each gets `predict` (a frame with the features -> one score a row, as will be served) and `rows` (the holdout, with the
columns of the training input), and returns what it tried. Three kinds (Ribeiro et al. 2020) have a helper here.

    from conveyor.sdk import behaviour
    import polars as pl

    def check_currency_of_the_shop_does_not_matter(predict, rows):
        return behaviour.invariance(predict, rows, pl.col("SHOP_CURRENCY") * 0, tolerance=0.01)

    def check_a_larger_amount_is_not_safer(predict, rows):
        return behaviour.direction(predict, rows, pl.col("TX_AMOUNT") * 2, up=True)

    def check_a_stolen_card_is_seen(predict, rows):
        return behaviour.minimum(predict, rows.filter(pl.col("STOLEN")), above=0.5)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from conveyor.domain.evaluation import Behaviour
from conveyor.errors import InputRejected

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Predict = Callable[[pl.DataFrame], Floats]

PREFIX = "check_"


@dataclass(frozen=True, slots=True)
class Tried:
    """How many rows a check looked at, and how many of them broke it; `worst` is the worst one's distance, if any."""

    rows: int
    failures: int
    worst: float = 0.0


def invariance(predict: Predict, rows: pl.DataFrame, change: pl.Expr, tolerance: float = 0.0) -> Tried:
    """Scores stay within `tolerance` when the rows are changed."""
    return _broken(abs(predict(rows.with_columns(change)) - predict(rows)), tolerance)


def direction(predict: Predict, rows: pl.DataFrame, change: pl.Expr, up: bool, tolerance: float = 0.0) -> Tried:
    """The change moves no score the other way by more than `tolerance`."""
    moved = predict(rows.with_columns(change)) - predict(rows)
    return _broken(-moved if up else moved, tolerance)


def minimum(predict: Predict, rows: pl.DataFrame, *, above: float | None = None, below: float | None = None) -> Tried:
    """Easy rows are scored right: all above, or all below, a bound."""
    scores = predict(rows)
    if above is not None and below is None:
        return _broken(above - scores, 0.0)
    if below is not None and above is None:
        return _broken(scores - below, 0.0)
    raise InputRejected("behaviour.minimum takes above or below", hint="Give one of the two.")


def _broken(apart: Floats, tolerance: float) -> Tried:
    wrong = ~(apart <= tolerance)  # a NaN is wrong too
    return Tried(len(apart), int(wrong.sum()), float(apart.max()) if len(apart) else 0.0)


def run(module: str, predict: Predict, rows: pl.DataFrame) -> tuple[Behaviour, ...]:
    """Every check of the module, by the order of its lines."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputRejected(
            f"behaviour {module}: no module named {error.name}",
            hint=f"{module.replace('.', '/')}.py must lie in the project's tree and be committed.",
        ) from error
    checks = {name: one for name, one in vars(found).items() if name.startswith(PREFIX) and callable(one)}
    if not checks:
        raise InputRejected(
            f"{module} has no behavioural test", hint=f"Name its functions {PREFIX}…; each takes (predict, rows)."
        )
    return tuple(_one(module, name, check, predict, rows) for name, check in checks.items())


def _one(
    module: str, name: str, check: Callable[[Predict, pl.DataFrame], Tried], predict: Predict, rows: pl.DataFrame
) -> Behaviour:
    tried = check(predict, rows)
    if not isinstance(tried, Tried):
        raise InputRejected(
            f"{module}:{name} returned {type(tried).__name__}",
            hint="Return what invariance, direction or minimum give, or a Tried(rows, failures).",
        )
    return Behaviour(name.removeprefix(PREFIX), tried.rows, tried.failures, tried.worst)
