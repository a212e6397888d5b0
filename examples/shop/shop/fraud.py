"""The fraud model: a random forest."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import RandomForestClassifier

from shop.features import FEATURES, LABEL


def train(features: pl.DataFrame, trees: int = 50, seed: int = 0) -> RandomForestClassifier:
    """Each tree sees a tenth of the rows: as good here as all of them, and several times as fast."""
    table = features.select(FEATURES).cast(pl.Float32).to_numpy()
    forest = RandomForestClassifier(trees, max_depth=12, max_samples=0.1, min_samples_leaf=2, random_state=seed)
    return forest.fit(table, features[LABEL].to_numpy())
