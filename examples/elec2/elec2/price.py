"""Whether the price goes up: extremely randomised trees over the last weeks."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import ExtraTreesClassifier

FEATURES = ("day", "period", "nswdemand", "vicprice", "vicdemand", "transfer")


def train(market: pl.DataFrame, trees: int = 100, leaf: int = 3, seed: int = 0) -> ExtraTreesClassifier:
    model = ExtraTreesClassifier(trees, min_samples_leaf=leaf, random_state=seed, n_jobs=1)
    return model.fit(market.select(FEATURES).to_numpy(), market["up"].to_numpy())
