"""Names of datasets that nobody declares; apart from `derived`, whose imports a quick command need not wait for."""

from __future__ import annotations

PREDICTIONS, LABELS, SCORES = "predictions", "labels", "scores"
COLUMNS = frozenset({"id", "key", "time", "at", "score", "version", "mark", "release", "caller", "label", "told"})
OF_MODELS = (PREDICTIONS, LABELS)
FAMILIES = (*OF_MODELS, SCORES)
"""Words before the slash; no project may be called so, for `shop/transactions` names a project."""


def column(feature: str) -> str:
    """What a feature's column of predictions is called: its own name, but for one that a column of ours has."""
    return f"feature_{feature}" if feature in COLUMNS else feature


def predictions(model: str) -> str:
    return f"{PREDICTIONS}/{model}"


def labels(model: str) -> str:
    return f"{LABELS}/{model}"


def model_of(dataset: str) -> str:
    """The model whose dataset it is, or the name of a scoring; empty for one that conveyor.toml declares."""
    family, _, model = dataset.partition("/")
    return model if family in FAMILIES else ""
