"""The few questions that every controller asks of the records."""

from __future__ import annotations

from conveyor.domain.dataset import DatasetVersion, Manifest
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.run import Run, RunState
from conveyor.engine.context import Context
from conveyor.stores import manifests
from conveyor.stores.collections import (
    BUILDS,
    DATASET_VERSIONS,
    ENVIRONMENTS,
    MODEL_VERSIONS,
    PROJECTS,
    RELEASES,
    RUNS,
)
from conveyor.stores.objects import Objects
from conveyor.stores.records import Transaction


class Builds:
    """The newest build of every project; read again only after something was written."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._revision = -1
        self._found: list[Build] = []

    def __call__(self) -> list[Build]:
        revision = self._context.records.revision
        if revision != self._revision:
            with self._context.records.read() as tx:
                projects = tx.find(PROJECTS, limit=1000)
                self._found = [build for project in projects if (build := latest_build(tx, project.name))]
            self._revision = revision
        return self._found


def latest_build(tx: Transaction, project: str) -> Build | None:
    """The trunk's newest build: it says which environments, data and models a project has (decision 0007)."""
    record = tx.get(PROJECTS, project)
    if record is not None and record.definition:
        return tx.get(BUILDS, f"{project}/{record.definition}")
    found = tx.find(BUILDS, where={"project": project}, limit=1)
    return found[0] if found else None


def latest_data(tx: Transaction, project: str, dataset: str) -> DatasetVersion | None:
    found = tx.find(DATASET_VERSIONS, where={"dataset": f"{project}/{dataset}"}, limit=1)
    return found[0] if found else None


def manifest_of(objects: Objects, version: DatasetVersion | None) -> Manifest:
    return Manifest() if version is None or version.root else manifests.read(objects, version.manifest)


def live_release(tx: Transaction, environment: Environment | None) -> Release | None:
    if environment is None or environment.live is None:
        return None
    return tx.get(RELEASES, f"{environment.id}/{environment.live}")


def live_model(tx: Transaction, project: str, model: str, environment: str = "production") -> ModelVersion | None:
    """The version of a model that is live in an environment."""
    release = live_release(tx, tx.get(ENVIRONMENTS, f"{project}/{environment}"))
    version = release.models.get(model) if release else None
    return None if version is None else tx.get(MODEL_VERSIONS, f"{project}/{model}@{version}")


def newest_ready(tx: Transaction, project: str, model: str) -> ModelVersion | None:
    found = tx.find(MODEL_VERSIONS, where={"model": f"{project}/{model}", "status": ModelStatus.READY}, limit=1)
    return found[0] if found else None


def open_runs(tx: Transaction, kind: str, subject: str) -> list[Run]:
    return tx.find(RUNS, where={"kind": kind, "subject": subject, "state": RunState.RUNNING})
