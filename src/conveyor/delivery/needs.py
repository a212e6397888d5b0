"""What needs a model version, a run or a version of a dataset, in words: what is needed is not removed.

A version is needed by aliases, releases and rollbacks; its run and the data that it was trained on are needed by it,
because they are what proves how it was made, and what makes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conveyor.delivery.known import known
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.retention import Policy, model_path, of_models
from conveyor.domain.run import Run
from conveyor.domain.source import versions_of
from conveyor.stores.collections import MODEL_VERSIONS, RUNS
from conveyor.stores.records import Transaction

_ALL = 10_000_000


def of_version(tx: Transaction, version: ModelVersion) -> tuple[str, ...]:
    return _reasons(tx, [version]).get(version.id, ())


def of_run(tx: Transaction, id_: str) -> tuple[str, ...]:
    """Of a training of ours; a run that is on no record here has no needs."""
    run = tx.get(RUNS, id_)
    return _words(tx, _made_by(tx, run), "was trained by it") if run else ()


def of_subject(tx: Transaction, subject: str) -> tuple[str, ...]:
    """Of all runs of a model, `project/model`."""
    return _words(tx, tx.find(MODEL_VERSIONS, where={"model": subject}, limit=_ALL), "was trained by a run of it")


def of_data(tx: Transaction, project: str, dataset: str, number: int) -> tuple[str, ...]:
    found = [
        version
        for version in tx.find(MODEL_VERSIONS, limit=_ALL)
        if version.project == project and number in versions_of(version.data, dataset)
    ]
    return _words(tx, found, "was trained on it")


def _made_by(tx: Transaction, run: Run) -> Iterator[ModelVersion]:
    for version in tx.find(MODEL_VERSIONS, where={"model": run.subject}, limit=_ALL):
        if version.run == run.id:
            yield version


def _words(tx: Transaction, versions: Iterable[ModelVersion], how: str) -> tuple[str, ...]:
    there = [version for version in versions if version.status is not ModelStatus.REMOVED]
    found = _reasons(tx, there)
    return tuple(f"{id_} {how}, and {'; '.join(whys)}" for id_, whys in found.items())


def _reasons(tx: Transaction, versions: list[ModelVersion]) -> dict[str, tuple[str, ...]]:
    """Id -> why, of those that something needs."""
    if not versions:
        return {}
    paths = {model_path(each.project, each.name, each.version): each.id for each in versions}
    found: dict[str, dict[str, None]] = {}
    for path, why in of_models(known(tx), Policy()):
        if path in paths:
            found.setdefault(paths[path], {})[why] = None
    return {id_: tuple(whys) for id_, whys in found.items()}
