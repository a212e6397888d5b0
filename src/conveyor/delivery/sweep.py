"""Collection of objects: those that no record needs go after the grace time; erased ones at once when asked for.

Safe beside writers: whoever stores bytes that are there already makes them young again, so that what is about to be
named is never old. A manifest that cannot be read keeps everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from conveyor.delivery.known import known
from conveyor.domain import references
from conveyor.domain.model import ModelVersion
from conveyor.domain.references import ObjectSum, References
from conveyor.domain.retention import Policy, model_path, of_models
from conveyor.engine.context import Context
from conveyor.stores import manifests
from conveyor.stores.collections import (
    ARRIVALS,
    DATASET_VERSIONS,
    ERASURES,
    MODEL_VERSIONS,
    QUARANTINE,
    QUARANTINE_PAST,
    RUNS,
    STEP_CACHE,
    STEP_PASTS,
)
from conveyor.stores.records import Transaction

_ALL = 10_000_000
_READ = (
    ARRIVALS,
    DATASET_VERSIONS,
    ERASURES,
    MODEL_VERSIONS,
    QUARANTINE,
    QUARANTINE_PAST,
    RUNS,
    STEP_CACHE,
    STEP_PASTS,
)
_RUNS = "outputs of runs"
_MODELS = "model versions that nothing needs; `conveyor model rm` lets them go, `conveyor gc --models` the oldest"


def sweep(
    context: Context, grace: timedelta, *, dry_run: bool, spare: Iterable[ModelVersion] = ()
) -> tuple[ObjectSum, ...]:
    """Deletes what nothing needs; says in sums what went and why the rest stays. `spare` are about to be removed."""
    before = context.clock.now() - grace
    stored = list(context.objects.stored())  # first: what is written after this is not looked at
    with context.records.read() as tx:
        needed = needs(context, tx, frozenset(version.id for version in spare))
    for digest in {digest for version in spare for digest in version.artifact.values()}:
        if needed.reasons.get(digest) == _RUNS:
            del needed.reasons[digest]
    gone, told = references.sums(stored, needed.reasons, before)
    if not dry_run:
        for each in gone:
            context.objects.discard(each.digest, before)
    return tuple(told)


def free(context: Context, dataset: str) -> int:
    """Deletes what a dataset's erasures left behind, as far as nothing uses it; how many objects."""
    freed = 0
    with context.records.transaction() as tx:  # nobody names anything meanwhile
        needed = needs(context, tx)
        runs = tx.find(RUNS, where={"project": dataset.partition("/")[0]}, limit=_ALL)
        for erasure in tx.find(ERASURES, where={"dataset": dataset}, limit=_ALL):
            for digest in dict.fromkeys((*erasure.objects, *references.void(runs, erasure))):
                if digest not in needed.reasons:
                    freed += context.objects.discard(digest, erasure.at)
    return freed


def needs(context: Context, tx: Transaction, spare: frozenset[str] = frozenset()) -> References:
    found, pages = References(), set[str]()
    paths: dict[str, str] = {}
    for path, why in of_models(known(tx), Policy()):
        paths.setdefault(path, why)
    for model in tx.find(MODEL_VERSIONS, limit=_ALL):
        if model.id not in spare:
            why = paths.get(model_path(model.project, model.name, model.version), "")
            found.add(references.words(model), f"model {model.id}: {why}" if why else _MODELS)
    for version in tx.find(DATASET_VERSIONS, limit=_ALL):
        found.add(references.words(version), "manifests of dataset versions")
        if version.manifest:
            for digest, page in manifests.walk(context.objects, version.manifest, pages):
                found.add([digest], "manifests of dataset versions")
                for part in page.parts:
                    found.add(references.of_part(part), "rows of dataset versions")
    runs, cached = tx.find(RUNS, limit=_ALL), tx.find(STEP_CACHE, limit=_ALL)
    for pairs in (
        references.of_arrivals(tx.find(ARRIVALS, limit=_ALL)),
        references.of_quarantine(tx.find(QUARANTINE, limit=_ALL)),
        references.of_runs(runs, cached, tx.find(ERASURES, limit=_ALL)),
    ):
        for digest, why in pairs:
            found.add([digest], why)
    read = {collection.name for collection in _READ}
    for name, body in tx.bodies(apart=read):
        found.add(references.DIGEST.findall(body), f"named by {name.replace('_', ' ')}")
    return found
