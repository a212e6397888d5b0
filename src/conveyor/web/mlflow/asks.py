"""What clients ask for: the bodies and queries of MLflow's REST, as far as they are honoured."""

from __future__ import annotations

from typing import Any

import msgspec

from conveyor.domain.tracked import Pair, Point


class Nothing(msgspec.Struct):
    pass


class CreateExperiment(msgspec.Struct):
    name: str
    artifact_location: str = ""
    tags: list[Pair] = []


class ExperimentId(msgspec.Struct):
    experiment_id: str


class ExperimentName(msgspec.Struct):
    experiment_name: str


class RenameExperiment(msgspec.Struct):
    experiment_id: str
    new_name: str


class ExperimentTag(msgspec.Struct):
    experiment_id: str
    key: str
    value: str = ""


class Search(msgspec.Struct):
    """Of experiments, runs, logged models, registered models and their versions."""

    experiment_ids: list[str] = []
    filter: str = ""
    view_type: str | int = "ACTIVE_ONLY"
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int | None = None
    order_by: list[Any] = []
    page_token: str = ""


class CreateRun(msgspec.Struct):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int = 0
    tags: list[Pair] = []


class OfRun(msgspec.Struct):
    run_id: str = ""
    run_uuid: str = ""
    path: str = ""

    @property
    def id(self) -> str:
        return self.run_id or self.run_uuid


class UpdateRun(OfRun):
    status: str | int | None = None
    end_time: int | None = None
    run_name: str | None = None


class LogMetric(OfRun):
    key: str = ""
    value: float | str = 0.0
    timestamp: int = 0
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogPair(OfRun):
    key: str = ""
    value: str = ""


class LogBatch(OfRun):
    metrics: list[Point] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class LogInputs(OfRun):
    datasets: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []


class History(OfRun):
    metric_key: str = ""
    max_results: int | None = None
    page_token: str = ""


class Histories(msgspec.Struct):
    run_ids: list[str]
    metric_key: str
    max_results: int = 2500
    start_step: int | None = None
    end_step: int | None = None


class CreateLoggedModel(msgspec.Struct):
    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Pair] = []
    tags: list[Pair] = []


class OfLoggedModel(msgspec.Struct):
    model_id: str
    status: str | int = "LOGGED_MODEL_READY"
    params: list[Pair] = []
    tags: list[Pair] = []
    tag_key: str = ""
    artifact_directory_path: str = ""


class Registered(msgspec.Struct):
    """A registered model, or a version of it, and what is to be done with it."""

    name: str
    version: str = ""
    new_name: str = ""
    description: str | None = None
    tags: list[Pair] = []
    key: str = ""
    value: str = ""
    alias: str = ""
    stage: str = ""
    stages: list[str] = []
    archive_existing_versions: bool = False


class CreateVersion(msgspec.Struct):
    name: str
    source: str
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    description: str = ""
    tags: list[Pair] = []
