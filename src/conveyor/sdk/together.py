"""Drift of columns together: can a classifier tell the rows of one table from those of another?

Each column alone may be as it was while their combinations are not; a domain classifier sees both. Its area under the
ROC curve, on rows that it was not fitted to, is 0.5 where it can only guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from conveyor.domain import statistics
from conveyor.domain.drift_report import Together
from conveyor.errors import InputRejected

ROWS = 2000
"""Of each table, drawn at random: enough to tell an area of 0.55 from 0.5."""
FOLDS = 5
CONFIDENCE = 0.99
LIMIT = 0.55

Matrix = npt.NDArray[np.float32]


def together(reference: pl.LazyFrame, current: pl.LazyFrame, columns: Sequence[str], seed: int = 0) -> Together | None:
    """Numeric `columns` that both have; the same seed draws the same rows. None with fewer than 50 rows on a side."""
    before, after = sample(reference, columns, seed), sample(current, columns, seed + 1)
    if min(len(before), len(after)) < 10 * FOLDS or not columns:
        return None
    rows = np.concatenate([before, after])
    truth = np.repeat([0.0, 1.0], [len(before), len(after)])
    scores = _held_out(rows, truth, seed)
    auc, low, high = statistics.bootstrap("roc_auc", truth, scores, confidence=CONFIDENCE, seed=seed)
    return Together(auc, low, high, CONFIDENCE, len(rows), low > 0.5 and auc > LIMIT)


def sample(frame: pl.LazyFrame, columns: Sequence[str], seed: int) -> Matrix:
    """Up to ROWS rows as float32 [rows, columns], null as NaN; read a column at a time."""
    total = int(frame.select(pl.len()).collect().item())
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(ROWS, total), replace=False))
    read = [frame.select(pl.col(name).cast(pl.Float32, strict=False)).collect()[name].gather(drawn) for name in columns]
    values = [each.fill_null(float("nan")).to_numpy() for each in read]
    matrix = np.stack(values, axis=1) if values else np.empty((drawn.size, 0), np.float32)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def _held_out(rows: Matrix, truth: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Of each row the score of small boosted trees that were fitted to the other folds."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import StratifiedKFold
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise InputRejected(
            "columns are compared together by scikit-learn, which is not installed here",
            hint="Install it: pip install 'conveyor[sklearn]'.",
        ) from error
    scores = np.empty(truth.size)
    for fitted, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, truth):
        trees = HistGradientBoostingClassifier(
            max_iter=60, max_depth=3, learning_rate=0.1, early_stopping=False, random_state=seed
        )
        with threadpool_limits(1):  # so few rows are fitted sooner by one thread than by several that wait
            scores[held] = trees.fit(rows[fitted], truth[fitted]).predict_proba(rows[held])[:, 1]
    return scores
