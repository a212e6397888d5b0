"""The simpler model that a candidate has to beat, trained on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conveyor.domain.gates.config import BASELINES
from conveyor.domain.metric import METRICS
from conveyor.domain.step import TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import slicing, table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


def baseline_scores(
    spec: TrainSpec, features: tuple[str, ...], training: pl.DataFrame, holdout: pl.DataFrame
) -> Scores | None:
    """The baseline's score for every holdout row; None when none is asked for."""
    if spec.baseline is None:
        return None
    if spec.baseline not in BASELINES:
        raise InputRejected(f"unknown baseline {spec.baseline}", hint=f"Use one of {', '.join(BASELINES)}.")
    if spec.baseline == "constant":
        return _constant(spec, training, holdout.height)
    if spec.baseline == "previous":
        return _previous(spec, training, holdout)
    if not METRICS[spec.metric].classification:
        raise InputRejected(
            f"baseline {spec.baseline} is a classifier, metric {spec.metric} is for regression",
            hint='Beat "constant" or "previous", or take the baseline gate out of conveyor.toml.',
        )
    return _logistic(spec, features, training, holdout)


def _constant(spec: TrainSpec, training: pl.DataFrame, rows: int) -> Scores:
    """The mean label of the training rows, whatever is asked."""
    import numpy as np

    return np.full(rows, slicing.truth(training, spec).cast(pl.Float64).to_numpy().mean())


def _previous(spec: TrainSpec, training: pl.DataFrame, holdout: pl.DataFrame) -> Scores:
    """The newest label that training knows of the row's group (of all rows, without `group`); else the mean."""
    import numpy as np

    known = training.with_columns(slicing.truth(training, spec).cast(pl.Float64).alias("__previous__"))
    known = known.sort(spec.time, maintain_order=True)
    if spec.group is None:
        return np.full(holdout.height, known["__previous__"].to_numpy()[-1])
    newest = known.group_by(spec.group).agg(pl.col("__previous__").last())
    joined = holdout.select(spec.group).join(newest, on=spec.group, how="left", maintain_order="left")
    found: Scores = joined["__previous__"].fill_null(_constant(spec, training, 1)[0]).to_numpy()
    return found


def _logistic(spec: TrainSpec, features: tuple[str, ...], training: pl.DataFrame, holdout: pl.DataFrame) -> Scores:
    import numpy as np
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=1000, random_state=spec.seed),
    )
    model.fit(table.numbers(training, features).to_numpy(), slicing.truth(training, spec).cast(pl.Int8).to_numpy())
    scored = model.predict_proba(table.numbers(holdout, features).to_numpy())
    return np.asarray(scored, dtype=np.float64)[:, 1]
