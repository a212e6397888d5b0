"""The simpler model that a candidate has to beat, trained on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from conveyor.domain.metric import METRICS
from conveyor.domain.step import TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import slicing, table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]

BASELINES = ("logistic",)


def baseline_scores(
    spec: TrainSpec, features: tuple[str, ...], training: pl.DataFrame, holdout: pl.DataFrame
) -> Scores | None:
    """The baseline's score for every holdout row; None when none is asked for."""
    if spec.baseline is None:
        return None
    if spec.baseline not in BASELINES:
        raise InputRejected(f"unknown baseline {spec.baseline}", hint=f"Use one of {', '.join(BASELINES)}.")
    if not METRICS[spec.metric].classification:
        raise InputRejected(
            f"baseline {spec.baseline} is a classifier, metric {spec.metric} is for regression",
            hint="Take the baseline gate out of conveyor.toml.",
        )
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
