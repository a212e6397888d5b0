"""Rollouts under way, held against the labels that come meanwhile: called by the monitor when it has joined some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conveyor.domain.monitor import Quality
from conveyor.domain.preview import is_preview
from conveyor.domain.project import ModelConfig
from conveyor.domain.rollout import Phase, Rollout
from conveyor.domain.verified import falls_short
from conveyor.stores.collections import MODEL_VERSIONS, QUALITY, RELEASES, ROLLOUTS
from conveyor.stores.records import Transaction

_OPEN = 100
_RECORD = 50  # measurements among which the earlier version's newest is looked for


def judge(tx: Transaction, project: str, model: ModelConfig, measures: Sequence[Quality]) -> None:
    """Aborts the rollout of a version that labels show to be worse, in its canary or its watch window."""
    for rollout in tx.find(ROLLOUTS, where={"state": "open"}, limit=_OPEN, newest=False):
        if rollout.phase in (Phase.CANARY, Phase.LIVE) and not rollout.abort and _watched(rollout, project):
            reason = _reason(tx, rollout, model, measures)
            if reason:
                target = f"model.{model.name}"
                tx.put(ROLLOUTS, replace(rollout, abort=f"{target} is worse by labels: {reason}", culprit=target))


def _watched(rollout: Rollout, project: str) -> bool:
    """A preview's predictions are none of the traffic that monitoring watches; a person's rollback is not undone."""
    place, _, name = rollout.environment.rpartition("/")
    return place == project and not is_preview(name) and rollout.previous is not None and not rollout.quick


def _reason(tx: Transaction, rollout: Rollout, model: ModelConfig, measures: Sequence[Quality]) -> str:
    new, old = tx.get(RELEASES, rollout.id), tx.get(RELEASES, f"{rollout.environment}/{rollout.previous}")
    candidate = new.models.get(model.name) if new else None
    live = old.models.get(model.name) if old else None
    quality = next((each for each in measures if each.version == candidate), None)
    if quality is None or live is None or candidate == live:
        return ""
    record = [*measures, *tx.find(QUALITY, where={"model": quality.model}, limit=_RECORD)]
    earlier = next((each for each in record if each.version == live and each.enough), None)
    version = tx.need(MODEL_VERSIONS, f"{quality.model}@{candidate}")
    return falls_short(quality, earlier, version.metrics[model.metric], model.monitor)
