"""Datasets that nobody declares: a model's `predictions/fraud` and `labels/fraud`; `scores/spring`, a scoring. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.domain.project import DataConfig, ModelConfig, ProjectConfig

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


def find(config: ProjectConfig, dataset: str) -> DataConfig | None:
    """A dataset as conveyor.toml declares it, or as its model's section says."""
    if dataset.startswith(f"{SCORES}/"):
        return DataConfig(dataset, mode="replace")
    model = config.models.get(model_of(dataset))
    return config.data.get(dataset) if model is None else _of(model, dataset)


def derived(config: ProjectConfig) -> Iterator[DataConfig]:
    for model in config.models.values():
        for family in OF_MODELS:
            yield _of(model, f"{family}/{model.name}")


def _of(model: ModelConfig, dataset: str) -> DataConfig:
    if dataset == labels(model.name):
        return DataConfig(dataset, time="time", debounce=model.labels.debounce)
    return DataConfig(dataset, time="time", key="id", debounce=model.observations.debounce)
