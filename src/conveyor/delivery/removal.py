"""Removing a model version: refused while anything needs it; its number and what is said of it stay on record."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery import needs
from conveyor.delivery.known import known
from conveyor.domain import requests, retention
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.retention import Policy, of_models
from conveyor.domain.run import Run
from conveyor.engine.context import Context
from conveyor.errors import Conflict, Refused
from conveyor.stores.collections import MODEL_VERSIONS, RUNS, STEP_CACHE
from conveyor.stores.records import Transaction

HOLDOUT = "holdout.parquet"
_ALL = 10_000_000


def surplus(context: Context, policy: Policy) -> list[ModelVersion]:
    """What a retention of the newest versions of each model lets go."""
    with context.records.read() as tx:
        return _surplus(tx, policy)


def retire(context: Context, versions: list[ModelVersion], policy: Policy) -> None:
    """Removes these versions, but for those that something has come to need since."""
    if not versions:
        return
    request = requests.RemoveModel("conveyor gc", f"not among the {policy.models} newest, and nothing needs it")
    with context.transaction() as tx:
        still = {version.id for version in _surplus(tx, policy)}
        for version in versions:
            if version.id in still:
                remove(context, tx, version.project, version.name, version.version, request)


def _surplus(tx: Transaction, policy: Policy) -> list[ModelVersion]:
    needed = {path for path, _ in of_models(known(tx), policy)}
    models: dict[str, list[ModelVersion]] = {}
    for version in tx.find(MODEL_VERSIONS, limit=_ALL):
        models.setdefault(version.model, []).append(version)
    return [each for versions in models.values() for each in retention.surplus(versions, needed, policy.models)]


def remove(
    context: Context, tx: Transaction, project: str, model: str, number: int, request: requests.RemoveModel
) -> str:
    """The artifact goes with the next collection; the version's number is never given to another one."""
    version = tx.need(MODEL_VERSIONS, f"{project}/{model}@{number}")
    if version.status is ModelStatus.REMOVED:
        raise Conflict(f"{version.id} was removed already", hint="There is nothing to remove.")
    if reasons := needs.of_version(tx, version):
        raise Refused(
            f"{version.id} cannot be removed: {'; '.join(reasons)}",
            hint="Move the alias, or release another version and wait until this one is out of reach of a rollback.",
        )
    tx.put(MODEL_VERSIONS, replace(version, status=ModelStatus.REMOVED, artifact={}))
    run = tx.get(RUNS, version.run)
    if run is not None:
        _forget(tx, run, version)
    told = {"version": number, "reason": request.reason, "by": request.by}
    tx.append(context.event("model.removed", f"model/{project}/{model}", project, **told))
    return f"{version.id} is removed; its bytes go with the next collection (`conveyor gc`)"


def _forget(tx: Transaction, run: Run, version: ModelVersion) -> None:
    """The run names the bytes no more. A training with the same inputs must make them anew, not find their names."""
    gone = {*version.artifact, HOLDOUT}
    for step in run.steps:
        if not version.artifact.items() <= step.outputs.items():
            continue
        run = run.with_step(replace(step, outputs={n: d for n, d in step.outputs.items() if n not in gone}))
        if step.key:
            tx.delete(STEP_CACHE, step.key)
    tx.put(RUNS, run)
