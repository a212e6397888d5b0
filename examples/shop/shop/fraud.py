"""The fraud model: extremely randomised trees."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import ExtraTreesClassifier

from shop.features import FEATURES, LABEL


def train(features: pl.DataFrame, trees: int = 50, keep: float = 0.2, seed: int = 0) -> ExtraTreesClassifier:
    """Fit on all frauds and a share (`keep`) of the rest, weighted back to its number.

    One transaction in 120 is a fraud, so the others say little new each: a fifth of them gives nearly the same average
    precision in a fraction of the time, and the weights keep the scores probabilities.
    """
    fraud = features[LABEL] == 1
    rest = features.filter(~fraud).sample(fraction=keep, seed=seed)
    rows = pl.concat([features.filter(fraud), rest])
    label = rows[LABEL].to_numpy()
    forest = ExtraTreesClassifier(trees, max_depth=15, min_samples_leaf=2, max_features=8, random_state=seed)
    table = rows.select(FEATURES).cast(pl.Float32).to_numpy()
    return forest.fit(table, label, sample_weight=[1.0 if known else 1 / keep for known in label])
