"""Quality by labels that were sent: of predictions so old that every class has told nearly all of its labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.delivery.predictions import read
from conveyor.delivery.sent import sent
from conveyor.domain import families, gathering
from conveyor.domain.measures.maturity import mature_age
from conveyor.domain.project import ModelConfig
from conveyor.domain.state import Cursor
from conveyor.engine.context import Context
from conveyor.monitoring.labels import attached, truth
from conveyor.monitoring.quality import SCORED
from conveyor.stores.collections import CURSORS, PREDICTION_PARTS
from conveyor.stores.records import Transaction

_LOOK = timedelta(minutes=10)  # between looks where no label has come
_LONGEST = timedelta(days=7)  # quality is measured at least once in so much time


@dataclass(frozen=True, slots=True)
class Cohort:
    """Predictions with their labels, `score` and `label`; answered up to `until`."""

    rows: pl.DataFrame
    cursor: Cursor
    until: datetime


class Truths:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked: dict[str, tuple[int, datetime]] = {}

    def any(self, project: str, model: ModelConfig) -> bool:
        """Whether labels are sent for this model; then they count, and no dataset's."""
        with self._context.records.read() as tx:
            return latest_data(tx, project, families.labels(model.name)) is not None

    def due(self, project: str, model: ModelConfig) -> Cohort | None:
        """The next cohort to be measured; None while it is too small or too young."""
        subject, now = f"{project}/{model.name}", self._context.clock.now()
        since = now - 2 * model.labels.horizon  # delays are known by those that had the whole horizon to come
        with self._context.records.read() as tx:
            version = latest_data(tx, project, families.labels(model.name))
            before = self._looked.get(subject)
            if version is None or (before and before[0] == version.version and now - before[1] < _LOOK):
                return None
            cursor = tx.get(CURSORS, f"labelled/{subject}") or Cursor(f"labelled/{subject}")
            since = min(since, cursor.until or since)
            predictions = self._predictions(tx, project, model.name, since)
            labels = sent(self._context, tx, project, model.name, since)
        self._looked[subject] = (version.version, now)
        known = attached(predictions.lazy(), labels.lazy()).filter(pl.col("label").is_not_null()).collect()
        return self._cohort(model, known, cursor, now)

    def _cohort(self, model: ModelConfig, known: pl.DataFrame, cursor: Cursor, now: datetime) -> Cohort | None:
        if known.is_empty():
            return None
        age = mature_age(
            known.select((pl.col("told") - pl.col("at")).dt.total_seconds().clip(0)).to_series().to_numpy(),
            known.select((pl.lit(now) - pl.col("at")).dt.total_seconds()).to_series().to_numpy(),
            known["label"].to_list(),
            model.labels.horizon,
        )
        until, first = now - age, known["at"].min()
        assert isinstance(first, datetime)
        since = cursor.until or first - timedelta(microseconds=1)
        rows = known.filter(pl.col("at").is_between(since, until, closed="right"))
        rows = rows.with_columns(truth(model.positive)).drop_nulls("label").unique("id", keep="last")
        if not rows.height or (rows.height < model.monitor.rows and until - since < _LONGEST):
            return None
        return Cohort(rows, cursor, until)

    def _predictions(self, tx: Transaction, project: str, model: str, since: datetime) -> pl.DataFrame:
        context = self._context
        parts = manifest_of(context.objects, latest_data(tx, project, families.predictions(model))).parts
        digests = [part.digest for part in gathering.kept(parts, timedelta(0), since)]
        digests += [
            piece.digest
            for piece in tx.find(PREDICTION_PARTS, where={"model": f"{project}/{model}"}, limit=100_000, newest=False)
        ]
        columns = list(SCORED)
        found = pl.concat(
            [pl.DataFrame(schema=pl.Schema(SCORED)), *(read(context.objects, digest, columns) for digest in digests)]
        )
        return found.filter((pl.col("at") > since) & (pl.col("mark") != "shadow"))
