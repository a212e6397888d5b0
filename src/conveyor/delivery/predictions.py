"""The controller of the datasets `predictions/<model>`: what monitoring has read becomes parts and versions of them.

Each piece that waits is a record; that it is part of a version, and waits no more, is one transaction.
"""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from datetime import datetime

import polars as pl

from conveyor.delivery.lookup import Builds, latest_data, live_release, manifest_of
from conveyor.domain import erasure, families, gathering
from conveyor.domain.dataset import DatasetProfile, DatasetVersion, Manifest, Part
from conveyor.domain.model import ModelVersion
from conveyor.domain.project import ModelConfig
from conveyor.domain.state import PredictionPart
from conveyor.engine.context import Context
from conveyor.errors import CorruptObject, NotFound
from conveyor.monitoring.quality import scored_of
from conveyor.sdk import describe, erased, sketch
from conveyor.sdk.parts import ends
from conveyor.sdk.schema import describe as schema_of
from conveyor.stores import manifests
from conveyor.stores.collections import (
    DATA_TAGS,
    DATASET_VERSIONS,
    ENVIRONMENTS,
    ERASURES,
    LINKS,
    PREDICTION_PARTS,
    RELEASES,
)
from conveyor.stores.objects import Objects
from conveyor.stores.records import Transaction

_EVERY = 0.5
_PIECES = 2000  # in one version at most
_FORGOTTEN = 100  # versions that one new one may let go


class Gathering:
    """One version at a time, made in a thread of its own: a large one does not hold up the reconciler."""

    name = "predictions"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._builds = Builds(context)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._revision = -1  # of the records, when nothing waited

    def turn(self) -> float:
        if self._thread is not None and self._thread.is_alive():
            return _EVERY
        self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        revision, waits = self._context.records.revision, False
        if revision == self._revision:
            return _EVERY
        for build in self._builds():
            for model in build.config.models.values():
                pieces = self._waiting(build.project, model)
                waits |= bool(pieces)
                if pieces and self._due(model, pieces):
                    self._thread = threading.Thread(
                        target=self._work, args=(build.project, model, pieces), name="predictions", daemon=True
                    )
                    self._thread.start()
                    return _EVERY
        if not waits:
            self._revision = revision
        return _EVERY

    def _waiting(self, project: str, model: ModelConfig) -> list[PredictionPart]:
        with self._context.records.read() as tx:
            return tx.find(PREDICTION_PARTS, where={"model": f"{project}/{model.name}"}, limit=_PIECES, newest=False)

    def _due(self, model: ModelConfig, pieces: list[PredictionPart]) -> bool:
        first, rows = pieces[0].created, sum(piece.rows for piece in pieces)
        if first is None or len(pieces) == _PIECES or rows >= gathering.MOST_ROWS:
            return True
        return self._context.clock.now() - first >= model.observations.debounce

    def _work(self, project: str, model: ModelConfig, pieces: list[PredictionPart]) -> None:
        try:
            self.gather(project, model, pieces)
        except BaseException as error:  # told by the reconciler, as any controller's error is
            self._error = error

    def gather(self, project: str, model: ModelConfig, pieces: list[PredictionPart]) -> DatasetVersion | None:
        """The next version; None where the dataset was changed meanwhile, or there was nothing to add.

        A piece whose object is gone or damaged is given up, and told of: it must not hold up those that come after it.
        """
        context, name = self._context, families.predictions(model.name)
        pieces = _batch(pieces)
        with context.records.read() as tx:
            previous = latest_data(tx, project, name)
            gone = erasure.keys(tx.find(ERASURES, where={"dataset": f"{project}/{name}"}, limit=100_000))
        parts = gathering.kept(
            manifest_of(context.objects, previous).parts, model.observations.keep, context.clock.now()
        )
        frames, lost = self._read(pieces)
        if not frames:
            self._give_up(project, model, lost)
            return None
        frame = pl.concat(frames, how="diagonal")
        bad = erased.rows(frame, gone)["__row__"].unique()
        frame = frame.with_row_index("__row__").filter(~pl.col("__row__").is_in(bad.implode())).drop("__row__")
        count = gathering.folded([part.rows for part in parts], frame.height)
        before = parts[len(parts) - count :] if count else ()
        added = self._part(pl.concat([*(read(context.objects, p.digest) for p in before), frame], how="diagonal"))
        manifest = Manifest((*parts[: len(parts) - count], *added))
        version = self._version(project, name, previous, manifest, frame)
        with context.transaction() as tx:
            newest = latest_data(tx, project, name)
            known = erasure.keys(tx.find(ERASURES, where={"dataset": f"{project}/{name}"}, limit=100_000))
            if known != gone or (newest.manifest if newest else "") != (previous.manifest if previous else ""):
                return None
            if any(tx.get(PREDICTION_PARTS, piece.id) is None for piece in pieces):
                return None  # another control plane took them
            for piece in pieces:
                tx.delete(PREDICTION_PARTS, piece.id)
            self._lose(tx, project, model, lost)
            if frame.height:
                self._tell(tx, version, frame.height)
        used = {part.digest for part in manifest.parts}
        for piece in pieces:
            if piece.digest not in used:
                context.objects.delete(piece.digest)
        return version if frame.height else None

    def _read(self, pieces: list[PredictionPart]) -> tuple[list[pl.DataFrame], list[PredictionPart]]:
        """Those that can be read, and the pieces that cannot."""
        frames, lost = list[pl.DataFrame](), list[PredictionPart]()
        for piece in pieces:
            try:
                frames.append(read(self._context.objects, piece.digest))
            except (NotFound, CorruptObject):
                lost.append(piece)
        return frames, lost

    def _give_up(self, project: str, model: ModelConfig, lost: list[PredictionPart]) -> None:
        with self._context.transaction() as tx:
            lost = [piece for piece in lost if tx.get(PREDICTION_PARTS, piece.id) is not None]  # nobody took them
            for piece in lost:
                tx.delete(PREDICTION_PARTS, piece.id)
            self._lose(tx, project, model, lost)

    def _lose(self, tx: Transaction, project: str, model: ModelConfig, lost: list[PredictionPart]) -> None:
        if lost:
            rows = sum(piece.rows for piece in lost)
            message = f"{rows:,} predictions of {model.name} cannot be read: what they were kept in is gone or damaged"
            about = {"message": message, "rows": rows}
            tx.append(
                self._context.event("signal.observations_lost", f"model/{project}/{model.name}", project, **about)
            )

    def _part(self, frame: pl.DataFrame) -> tuple[Part, ...]:
        """In the order of event time, with sketches of its own, so that versions' profiles are sums of their parts'."""
        if frame.is_empty():
            return ()
        objects = self._context.objects
        frame = frame.sort("time", maintain_order=True)
        digest, size = keep(objects, frame)
        sketches = objects.put(sketch.to_bytes(describe.measure([objects.path(digest)])))
        first, last = ends(frame, "time")
        at = frame["at"].max()
        assert isinstance(at, datetime)
        return (Part(digest, frame.height, size, first, last, gathering.source(at), sketches=sketches),)

    def _version(
        self, project: str, name: str, previous: DatasetVersion | None, manifest: Manifest, frame: pl.DataFrame
    ) -> DatasetVersion:
        objects = self._context.objects
        return DatasetVersion(
            project=project,
            name=name,
            version=previous.version + 1 if previous else 1,
            parent=previous.version if previous else None,
            manifest=manifests.put(objects, manifest, previous.manifest if previous else ""),
            rows=manifest.rows,
            bytes=manifest.bytes,
            schema=(previous.schema if previous else {}) | schema_of(frame.schema),
            created=self._context.clock.now(),
            first=manifest.first,
            last=manifest.last,
            profile=self._profile(manifest),
            reason=f"{frame.height:,} predictions",
        )

    def _profile(self, manifest: Manifest) -> DatasetProfile:
        objects = self._context.objects
        found = (sketch.from_bytes(objects.get(part.sketches)) if part.sketches else None for part in manifest.parts)
        pairs = zip(manifest.parts, found, strict=True)
        whole = describe.merged(known or describe.measure([objects.path(part.digest)]) for part, known in pairs)
        return replace(describe.profile(whole), sketches=objects.put(sketch.to_bytes(whole)))

    def _tell(self, tx: Transaction, version: DatasetVersion, rows: int) -> None:
        context = self._context
        tx.put(DATASET_VERSIONS, version)
        tx.append(
            context.event(
                "data.version_created",
                f"data/{version.dataset}",
                version.project,
                version=version.version,
                rows=version.rows,
                new_rows=rows,
                until=version.last.isoformat() if version.last else None,
                files=[],
                late=0,
                mode="append",
                replaced=0,
            )
        )
        self._forget(tx, version)

    def _forget(self, tx: Transaction, newest: DatasetVersion) -> None:
        """Versions between those that stay, unless a tag or a model names them."""
        versions = tx.find(DATASET_VERSIONS, where={"dataset": newest.dataset}, limit=10_000)
        tagged = {tag.version for tag in tx.find(DATA_TAGS, where={"dataset": newest.dataset}, limit=1000)}
        going = gathering.surplus([(each.version, each.created) for each in versions], newest.created)
        for number in going[:_FORGOTTEN]:
            id_ = f"{newest.dataset}@{number}"
            if number not in tagged and not tx.find(LINKS, where={"source": f"data/{id_}"}, limit=1):
                tx.delete(DATASET_VERSIONS, id_)


def piece(context: Context, tx: Transaction, version: ModelVersion, frame: pl.DataFrame) -> PredictionPart | None:
    """Scored rows, as they wait to become part of the dataset; with the release that they were answered by."""
    if frame.is_empty():
        return None
    release, mark = _answered_by(tx, version)
    live = pl.when(pl.col("mark") == "").then(pl.lit(mark)).otherwise("mark")
    frame = frame.with_columns(pl.lit(release, pl.Int32).alias("release"), live.alias("mark"))
    first, last = (frame["time"].min(), frame["time"].max())
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    digest, _ = keep(context.objects, frame)
    return PredictionPart(
        context.new_id(), version.model, digest, frame.height, first, last, created=context.clock.now()
    )


def _answered_by(tx: Transaction, version: ModelVersion) -> tuple[int | None, str]:
    """Production's release that binds this version now, and "canary" where that is being rolled out."""
    environment = tx.get(ENVIRONMENTS, f"{version.project}/production")
    live = live_release(tx, environment)
    if live is not None and live.models.get(version.name) == version.version:
        return live.number, ""
    coming = tx.get(RELEASES, environment.rollout) if environment and environment.rollout else None
    if coming is not None and coming.models.get(version.name) == version.version:
        return coming.number, "canary"
    return None, ""


def between(
    context: Context, tx: Transaction, project: str, model: str, since: datetime, until: datetime
) -> tuple[list[str], int]:
    """Objects that may hold predictions with since < event time <= until, those that wait too; how many rows do."""
    version = latest_data(tx, project, families.predictions(model))
    digests = [part.digest for part in manifest_of(context.objects, version).within(since, until).parts]
    waiting = tx.find(PREDICTION_PARTS, where={"model": f"{project}/{model}"}, limit=100_000, newest=False)
    digests += [p.digest for p in waiting if p.first and p.last and p.first <= until and p.last > since]
    within = pl.col("time").is_between(since, until, closed="right")
    paths = [context.objects.path(digest) for digest in digests]
    return digests, sum(int(pl.scan_parquet(path).select(within.sum()).collect().item()) for path in paths)


def read(objects: Objects, digest: str, columns: list[str] | None = None) -> pl.DataFrame:
    """`columns` where not all are wanted."""
    path = objects.path(digest)
    names = pl.read_parquet_schema(path)
    frame = scored_of(pl.read_parquet(path, columns=[n for n in names if columns is None or n in columns]))
    return frame if columns is None else frame.select(columns)


def keep(objects: Objects, frame: pl.DataFrame) -> tuple[str, int]:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    return objects.put(buffer.getvalue()), buffer.tell()


def _batch(pieces: list[PredictionPart]) -> list[PredictionPart]:
    """As many of the oldest as make one part."""
    rows = 0
    for count, each in enumerate(pieces):
        rows += each.rows
        if count and rows > gathering.MOST_ROWS:
            return pieces[:count]
    return pieces
