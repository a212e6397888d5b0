"""What is expected of model versions before labels come, kept beside the records of monitoring."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from conveyor.domain import estimated_decay
from conveyor.domain.estimate import Expectation
from conveyor.domain.measures import expected
from conveyor.domain.model import ModelManifest, ModelVersion
from conveyor.domain.monitor import Quality, Signal, Window
from conveyor.domain.project import ModelConfig
from conveyor.stores.collections import EXPECTATIONS
from conveyor.stores.records import Transaction


def of(tx: Transaction, version: ModelVersion, manifest: ModelManifest) -> Expectation | None:
    """None of a version that has no calibrator: a regression, or one that was trained before there were any."""
    if manifest.calibrator is None:
        return None
    return tx.get(EXPECTATIONS, version.id) or Expectation(version.id, version.model, manifest.calibrator)


def closed(
    tx: Transaction, version: ModelVersion, manifest: ModelManifest, model: ModelConfig, window: Window
) -> Signal | None:
    """A window without a data fault was closed."""
    known = of(tx, version, manifest)
    reference = version.metrics.get(model.metric)
    if known is None or reference is None:
        return None
    now, signal = estimated_decay.judge(known, window, reference, model.monitor)
    if now != known:
        tx.put(EXPECTATIONS, now)
    return signal


def reconciled(
    tx: Transaction, version: ModelVersion, manifest: ModelManifest, quality: Quality, frame: pl.DataFrame
) -> Quality:
    """The quality with what was expected on its rows; the labels in `frame` renew what is expected from here on."""
    known = of(tx, version, manifest)
    if known is None:
        return quality
    scores, labels = frame["score"].to_numpy(), frame["label"].to_numpy()
    given = expected.estimate(quality.metric, expected.tally(scores, known.calibrator.edges), known.calibrator)
    quality = replace(quality, estimate=given)
    if not quality.enough:
        return quality
    if quality.error is not None:
        known = estimated_decay.compared(known, quality.error)
    tx.put(EXPECTATIONS, replace(known, calibrator=expected.renewed(known.calibrator, labels, scores)))
    return quality
