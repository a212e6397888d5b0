"""The controller of monitoring: reads what model servers logged, closes windows, joins late labels, raises signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from conveyor.delivery import estimates, shadows, verified
from conveyor.delivery.inputs import datasets_of, labels_known_until
from conveyor.delivery.lookup import Builds, latest_data, live_model, manifest_of
from conveyor.delivery.predictions import between, piece, read
from conveyor.delivery.truths import Truths
from conveyor.domain import monitor, wire
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.model import ModelManifest, ModelStatus, ModelVersion
from conveyor.domain.monitor import Quality, Signal, Window
from conveyor.domain.observation import Prediction
from conveyor.domain.project import DataConfig, ModelConfig
from conveyor.domain.release import Build
from conveyor.domain.state import Cursor
from conveyor.engine.context import Context
from conveyor.errors import CorruptObject
from conveyor.monitoring.open_window import OpenWindow
from conveyor.monitoring.quality import SCORED, joined, measured, sampled, scored
from conveyor.monitoring.windows import matrices, observe
from conveyor.stores.collections import CURSORS, MODEL_VERSIONS, PREDICTION_PARTS, QUALITY, WINDOWS
from conveyor.stores.observations import ObservationLog
from conveyor.stores.records import Collection, Transaction

_EVERY = 1.0
_BATCH = 64  # segments in one turn and version
_LONGEST = timedelta(days=7)  # quality is measured at least once in so much event time

OPEN_WINDOWS = Collection("open_windows", OpenWindow, index=("model",))


@dataclass(frozen=True, slots=True)
class _Batch:
    names: tuple[str, ...]
    predictions: list[Prediction]


class Monitor:
    name = "monitor"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._manifests: dict[str, ModelManifest] = {}
        self._builds = Builds(context)
        self._truths = Truths(context)
        self._seen = -1  # the records' revision at the last look for labels

    def turn(self) -> float:
        revision = self._context.records.revision
        for build in self._builds():
            for model in build.config.models.values():
                self._windows(build.project, model)
                if revision != self._seen:
                    self._quality(build, model)
        self._seen = revision
        return _EVERY

    def _windows(self, project: str, model: ModelConfig) -> None:
        folder = self._context.settings.observations / project / model.name
        for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
            log = ObservationLog(directory)
            if not log.segments():
                continue
            with self._context.records.read() as tx:
                version = tx.get(MODEL_VERSIONS, f"{project}/{model.name}@{directory.name}")
                cursor = tx.get(CURSORS, _cursor_id(project, model, directory)) or Cursor(
                    _cursor_id(project, model, directory)
                )
            for name in cursor.names:
                log.delete(directory / name)
            if version is None:
                continue
            batch = self._read(log, len(version.signature.features))
            if batch.names:
                self._take(version, model, directory, batch)
                for name in batch.names:
                    log.delete(directory / name)

    def _read(self, log: ObservationLog, features: int) -> _Batch:
        """Whole segments only: one that is damaged is set aside, so that it holds up none that comes after it."""
        names: list[str] = []
        predictions: list[Prediction] = []
        for path in log.segments()[:_BATCH]:
            try:
                found = log.read(path)
                matrices([each for each in found if each.rows > 0], features)
                predictions += found
            except CorruptObject:
                log.set_aside(path)
                continue
            names.append(path.name)
        return _Batch(tuple(names), predictions)

    def _take(self, version: ModelVersion, model: ModelConfig, directory: Path, batch: _Batch) -> None:
        """One transaction: windows, signals, the scored rows, and which segments they came from."""
        context = self._context
        manifest = watched(self._manifest(version), model.observations.redact)
        rows = sampled(scored(batch.predictions, version.signature.features), model.observations.sample)
        with context.transaction() as tx:
            opened = tx.get(OPEN_WINDOWS, version.id) or OpenWindow(version.model, version.version)
            known = estimates.of(tx, version, manifest)
            now_open, closed = observe(
                opened,
                batch.predictions,
                manifest.profile,
                version.signature.features,
                model.monitor,
                manifest.rules,
                known.calibrator if known else None,
                model.metric,
            )
            tx.put(OPEN_WINDOWS, now_open)
            shadows.take(context, tx, version, manifest, batch.predictions)
            if (part := piece(context, tx, version, rows)) is not None:
                tx.put(PREDICTION_PARTS, part)
            for window in closed:
                self._closed(tx, version, model, window)
            tx.put(CURSORS, Cursor(_cursor_id(version.project, model, directory), names=batch.names))

    def _closed(self, tx: Transaction, version: ModelVersion, model: ModelConfig, window: Window) -> None:
        context = self._context
        found = monitor.signals(window, model.monitor)
        tx.put(WINDOWS, window)
        faulty = any(signal.kind is monitor.SignalKind.DATA_FAULT for signal in found)
        worst = sorted(window.psi.items(), key=lambda item: -item[1])[:3]
        tx.append(
            context.event(
                "monitor.window_closed",
                f"model/{version.model}",
                version.project,
                version=version.version,
                window=window.number,
                rows=window.rows,
                psi=dict(worst),
                faulty=faulty,
            )
        )
        live = live_model(tx, version.project, version.name)
        if not faulty and (early := estimates.closed(tx, version, self._manifest(version), model, window)):
            found = (*found, early)
        for signal in found:
            if live is not None and live.version == version.version:
                self._signal(tx, version, signal)

    def _signal(self, tx: Transaction, version: ModelVersion, signal: Signal) -> None:
        data = wire.to_builtins(signal)
        kind, message = data.pop("kind"), data.pop("message")
        tx.append(
            self._context.event(f"signal.{kind}", f"model/{version.model}", version.project, message=message, **data)
        )

    def _manifest(self, version: ModelVersion) -> ModelManifest:
        if version.id not in self._manifests:
            raw = self._context.objects.get(version.artifact["model.json"])
            self._manifests[version.id] = wire.from_json(raw, ModelManifest)
        return self._manifests[version.id]

    def _quality(self, build: Build, model: ModelConfig) -> None:
        """Joins labels that have come since the last time, once there are enough of them."""
        context = self._context
        if self._truths.any(build.project, model):
            if (cohort := self._truths.due(build.project, model)) is not None:
                subject = f"{build.project}/{model.name}"
                self._measure(model, subject, build.project, cohort.rows, cohort.cursor, cohort.until)
            return
        roots = datasets_of(build.config, model.inputs)
        if not roots or roots[0].label is None or roots[0].time is None or roots[0].key is None:
            return
        subject = f"{build.project}/{model.name}"
        with context.records.read() as tx:
            version = latest_data(tx, build.project, roots[0].name)
            cursor = tx.get(CURSORS, f"quality/{subject}") or Cursor(f"quality/{subject}")
            if version is None or (until := labels_known_until(roots[0], version)) is None or until == cursor.until:
                return
            since = cursor.until or (version.first or until) - timedelta(microseconds=1)  # the first row counts
            digests, rows = between(context, tx, build.project, model.name, since, until)
        enough = rows >= model.monitor.rows or (rows and until - since >= _LONGEST)
        if not enough:
            return
        frame = self._joined(model, roots[0], version, digests, since, until)
        self._measure(model, subject, build.project, frame, cursor, until)

    def _joined(
        self,
        model: ModelConfig,
        data: DataConfig,
        version: DatasetVersion,
        digests: list[str],
        since: datetime,
        until: datetime,
    ) -> pl.DataFrame:
        objects = self._context.objects
        assert data.label is not None
        assert data.time is not None
        assert data.key is not None
        predictions = pl.concat([read(objects, digest, columns=list(SCORED)) for digest in digests])
        predictions = predictions.filter(
            pl.col("time").is_between(since, until, closed="right") & (pl.col("mark") != "shadow")
        )
        paths = [objects.path(part.digest) for part in manifest_of(objects, version).within(since, until).parts]
        if not paths or predictions.is_empty():
            return predictions.with_columns(pl.lit(None, pl.Float64).alias("label")).clear()
        labels = pl.scan_parquet(paths).filter(_utc(data.time) <= until).select(data.key, data.label.column).collect()
        return joined(predictions, labels, key=data.key, label=data.label.column, positive=model.positive)

    def _reconciled(self, tx: Transaction, version: ModelVersion, quality: Quality, rows: pl.DataFrame) -> Quality:
        if version.status in (ModelStatus.REMOVED, ModelStatus.DAMAGED):  # there may be no manifest to read
            return quality
        return estimates.reconciled(tx, version, self._manifest(version), quality, rows)

    def _measure(
        self,
        model: ModelConfig,
        subject: str,
        project: str,
        frame: pl.DataFrame,
        cursor: Cursor,
        until: datetime,
    ) -> None:
        context = self._context
        measures = [
            (
                measured(group, id=context.new_id(), model=subject, version=int(str(number[0])), metric=model.metric),
                group,
            )
            for number, group in sorted(frame.group_by("version"), key=lambda pair: int(str(pair[0][0])))
        ]
        with context.transaction() as tx:
            live = live_model(tx, project, model.name)
            for plain, rows in measures:
                version = tx.need(MODEL_VERSIONS, f"{subject}@{plain.version}")
                quality = self._reconciled(tx, version, plain, rows)
                tx.put(QUALITY, quality)
                tx.append(
                    context.event(
                        "monitor.quality",
                        f"model/{subject}",
                        project,
                        version=quality.version,
                        metric=quality.metric,
                        value=quality.value,
                        low=quality.low,
                        high=quality.high,
                        rows=quality.rows,
                        positives=quality.positives,
                        estimate=quality.estimate.value if quality.estimate else None,
                        until=until.isoformat(),
                    )
                )
                signal = monitor.decay(quality, version.metrics[model.metric], model.monitor)
                if signal is not None and live is not None and live.version == quality.version:
                    self._signal(tx, version, signal)
            verified.judge(tx, project, model, [quality for quality, _ in measures])
            tx.put(CURSORS, Cursor(cursor.id, until=until))


def watched(manifest: ModelManifest, redacted: Sequence[str]) -> ModelManifest:
    """Without the features that are redacted: nothing of them is logged, so nothing of them can be watched."""
    if not redacted:
        return manifest
    features = {name: each for name, each in manifest.profile.features.items() if name not in redacted}
    rules = tuple(rule for rule in manifest.rules if rule.column not in redacted)
    return replace(manifest, profile=replace(manifest.profile, features=features), rules=rules)


def _utc(column: str) -> pl.Expr:
    """An event time column as UTC microseconds; one without a zone is taken as UTC."""
    return pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _cursor_id(project: str, model: ModelConfig, directory: Path) -> str:
    return f"observations/{project}/{model.name}/{directory.name}"
