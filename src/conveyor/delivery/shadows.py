"""Model versions in the shadow of the live one: what both answered to the same requests, as far as the logs were read.

The monitor hands over what it reads; the controller of rollouts looks at the sum, and closes it when the phase ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from conveyor.domain import rollout_sight as sight
from conveyor.domain.environment import placed
from conveyor.domain.metric import METRICS
from conveyor.domain.model import ModelManifest, ModelVersion
from conveyor.domain.observation import Prediction
from conveyor.domain.preview import is_preview
from conveyor.domain.project import ModelConfig
from conveyor.domain.release import Release
from conveyor.domain.rollout import Phase, Plan, Rollout, Seen
from conveyor.domain.shadow import Shadowed, ended
from conveyor.engine.context import Context
from conveyor.monitoring.shadow import Halves, compared, taken
from conveyor.stores.collections import BUILDS, RELEASES, ROLLOUTS, SHADOWS
from conveyor.stores.records import Collection, Transaction

HALVES = Collection("shadow_halves", Halves)


def take(
    context: Context,
    tx: Transaction,
    version: ModelVersion,
    manifest: ModelManifest,
    predictions: Sequence[Prediction],
) -> None:
    """What the monitor has read of one version's log; most of it has nothing to do with a shadow."""
    found: dict[str, list[Prediction]] = {}
    for each in predictions:
        id_, _, unique = each.pair.rpartition(" ")
        if id_ and unique and each.rows > 0:
            found.setdefault(id_, []).append(each)
    for id_, mine in found.items():
        rollout, release = tx.get(ROLLOUTS, id_), tx.get(RELEASES, id_)
        if rollout is None or release is None or rollout.phase is not Phase.SHADOW:
            continue  # the phase is over: so is the comparison
        if release.project == version.project:
            _take(context, tx, rollout, release, version, manifest, mine)


def of(tx: Transaction, rollout: Rollout, target: str) -> Shadowed | None:
    """What to judge a model's shadow by; None where nothing is compared: a preview's predictions are not read."""
    if rollout.phase is not Phase.SHADOW or is_preview(rollout.environment.rpartition("/")[2]):
        return None
    id_ = f"{rollout.id}/{target}"
    return tx.get(SHADOWS, id_) or Shadowed(id_, rollout.id, target)


def close(context: Context, tx: Transaction, before: Rollout, after: Rollout, plan: Plan, seen: Seen) -> None:
    """The shadow phase has ended: with what the proxy counted, and an event that tells the figures."""
    for name in plan.shadow:
        found = tx.get(SHADOWS, f"{before.id}/{name}")
        tx.delete(HALVES, f"{before.id}/{name}")
        if found is None:
            continue
        result = "given up" if after.phase is Phase.ABORTING else "passed" if not after.note else after.note
        new, live = sight.new_counts(before, seen, name), sight.old_counts(before, seen, name)
        found = ended(found, new, live, result)
        tx.put(SHADOWS, found)
        data = {
            "release": before.release,
            "target": name,
            "requests": found.requests,
            "rows": found.rows,
            "difference": round(found.mean, 6),
            "differing": round(found.share, 6),
            "psi": round(found.psi, 4),
            "ks": round(found.ks, 4),
            "unanswered": found.unanswered,
            "result": result,
        }
        project = before.environment.partition("/")[0]
        tx.append(context.event("rollout.shadowed", f"environment/{before.environment}", project, **data))


def _take(
    context: Context,
    tx: Transaction,
    rollout: Rollout,
    release: Release,
    version: ModelVersion,
    manifest: ModelManifest,
    predictions: list[Prediction],
) -> None:
    id_ = f"{rollout.id}/model.{version.name}"
    halves = taken(tx.get(HALVES, id_) or Halves(id_), predictions)
    seen = tx.get(SHADOWS, id_)
    if seen is None and release.models.get(version.name) != version.version:  # the live version: it gives the scale
        build = placed(tx.need(BUILDS, f"{release.project}/{release.build}"), release.environment_name)
        config = build.config.models.get(version.name)
        candidate = release.models.get(version.name)
        if config is not None and candidate is not None:
            seen = _begin(id_, rollout, version.version, candidate, manifest, config)
    if seen is not None:
        seen, halves = compared(seen, halves, context.clock.now().timestamp())
        tx.put(SHADOWS, seen)
    tx.put(HALVES, halves)


def _begin(
    id_: str, rollout: Rollout, live: int, candidate: int, manifest: ModelManifest, config: ModelConfig
) -> Shadowed:
    metric, score = METRICS.get(config.metric), manifest.profile.score
    classification = metric.classification if metric else bool(manifest.signature.classes)
    spread = score.std if score else 0.0
    return Shadowed(
        id_,
        rollout.id,
        f"model.{config.name}",
        live,
        candidate,
        scale=1.0 if classification or spread <= 0 else spread,
        tolerance=config.rollout.shadow.tolerance,
        edges=score.edges if score else (),
    )
