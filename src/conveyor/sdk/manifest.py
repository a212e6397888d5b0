"""`model.json`: the signature, a scored example and the reference profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from conveyor.domain import skew, statistics
from conveyor.domain.contract import Rule, rules_of
from conveyor.domain.drift import Profile
from conveyor.domain.measures import expected
from conveyor.domain.metric import METRICS
from conveyor.domain.model import Example, ModelManifest, Signature
from conveyor.domain.monitor import NULL_SHARE
from conveyor.domain.step import TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import table
from conveyor.sdk.convert import Converted
from conveyor.sdk.handlers.handler import Handler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]


def manifest_of(
    spec: TrainSpec,
    handler: Handler,
    model: Any,
    features: tuple[str, ...],
    classes: tuple[str, ...],
    training: pl.DataFrame,
    holdout: pl.DataFrame,
    truth: pl.Series,
    made: Converted,
) -> ModelManifest:
    """`training` rows by event time; `holdout` features as Float64, `truth` its labels; `made` was compared on it."""
    takes, gives = made.scorer.inputs, made.scorer.outputs
    signature = Signature(features, takes, gives, made.score, spec.key, spec.time, classes)
    example = example_of(handler, model, features, holdout, made, spec.parity_tolerance)
    profile = profile_of(features, training, made.scores)
    rules = rules_for(spec, features, training)
    calibrator = expected.calibrator(truth.to_numpy(), made.scores) if METRICS[spec.metric].classification else None
    return ModelManifest(signature, example, profile, handler.framework, rules, made.conversion.form, calibrator)


def rules_for(spec: TrainSpec, features: tuple[str, ...], training: pl.DataFrame) -> tuple[Rule, ...]:
    """The contract's rules of columns that are features as they are: of one that a step made into something else, its
    own training rows break them."""
    checked = skew.Skew(features, rules_of(spec.rules))
    broken = checked.broken(table.matrix(training, features)) if checked.rules else {}
    return tuple(rule for rule in checked.rules if broken.get(rule.name, 0) <= NULL_SHARE * training.height)


def example_of(
    handler: Handler, model: Any, features: tuple[str, ...], holdout: pl.DataFrame, made: Converted, tolerance: float
) -> Example:
    """The holdout row with the highest score: the one that a broken graph is least likely to give by chance.

    JSON has no NaN, so gaps in that row are 0 and the native model is asked again.
    """
    import numpy as np

    at = int(np.argmax(np.where(np.isfinite(made.scores), made.scores, -np.inf)))
    row = holdout.slice(at, 1).fill_nan(0.0)
    given = handler.predict(model, row, features)
    score = float(given[0, min(made.score.column or 0, given.shape[1] - 1)])
    if not np.isfinite(score):
        raise InputRejected(
            f"the model's best score of {holdout.height} holdout rows is {score}, not a finite number",
            hint="Look for missing values in the features, and impute them in the model's pipeline.",
        )
    return Example(tuple(float(value) for value in row.row(0)), score, tolerance * max(1.0, abs(score)))


def profile_of(features: tuple[str, ...], training: pl.DataFrame, scores: Matrix) -> Profile:
    """Features as trained on; the score as served, on the holdout (on training rows it would flatter)."""
    rows = table.matrix(training, features)
    columns = {name: statistics.profile(rows[:, index]) for index, name in enumerate(features)}
    return Profile(training.height, columns, statistics.profile(scores))
