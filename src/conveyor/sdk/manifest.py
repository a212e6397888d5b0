"""`model.json`: the signature, a scored example and the reference profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from conveyor.domain import skew, statistics
from conveyor.domain.contract import Rule, rules_of
from conveyor.domain.drift import Profile
from conveyor.domain.model import Example, ModelManifest, Signature
from conveyor.domain.monitor import NULL_SHARE
from conveyor.domain.step import TrainSpec
from conveyor.sdk import onnx, table
from conveyor.sdk.handlers.handler import Handler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]


def manifest_of(
    spec: TrainSpec,
    handler: Handler,
    estimator: Any,
    features: tuple[str, ...],
    training: pl.DataFrame,
    holdout: pl.DataFrame,
    graph: bytes,
    scores: Matrix,
) -> ModelManifest:
    """`training` rows by event time; `holdout` features as Float64; `scores` of the graph on the holdout."""
    takes, gives = onnx.tensors(onnx.session(graph))
    signature = Signature(features, takes, gives, onnx.score_of(gives), spec.key, spec.time)
    example = example_of(handler, estimator, features, holdout, scores, spec.parity_tolerance)
    profile = profile_of(features, training, scores)
    return ModelManifest(signature, example, profile, handler.framework, rules_for(spec, features, training))


def rules_for(spec: TrainSpec, features: tuple[str, ...], training: pl.DataFrame) -> tuple[Rule, ...]:
    """The contract's rules of columns that are features as they are: of one that a step made into something else, its
    own training rows break them."""
    checked = skew.Skew(features, rules_of(spec.rules))
    broken = checked.broken(table.matrix(training, features)) if checked.rules else {}
    return tuple(rule for rule in checked.rules if broken.get(rule.name, 0) <= NULL_SHARE * training.height)


def example_of(
    handler: Handler,
    estimator: Any,
    features: tuple[str, ...],
    holdout: pl.DataFrame,
    scores: Matrix,
    tolerance: float,
) -> Example:
    """The holdout row with the highest score: the one that a broken graph is least likely to give by chance.

    JSON has no NaN, so gaps in that row are 0 and the estimator is asked again.
    """
    import numpy as np

    at = int(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)))
    row = holdout.slice(at, 1).fill_nan(0.0)
    score = float(handler.score(estimator, row, features)[0])
    return Example(tuple(float(value) for value in row.row(0)), score, tolerance * max(1.0, abs(score)))


def profile_of(features: tuple[str, ...], training: pl.DataFrame, scores: Matrix) -> Profile:
    """Features as trained on; the score as served, on the holdout (on training rows it would flatter)."""
    rows = table.matrix(training, features)
    columns = {name: statistics.profile(rows[:, index]) for index, name in enumerate(features)}
    return Profile(training.height, columns, statistics.profile(scores))
