"""Datasets that nobody declares: a model's `predictions/fraud` and `labels/fraud`; `scores/spring`, a scoring. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.domain.families import OF_MODELS, SCORES, labels, model_of
from conveyor.domain.project import DataConfig, ModelConfig, ProjectConfig


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
