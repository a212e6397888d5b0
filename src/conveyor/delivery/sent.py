"""Labels that were sent, and the predictions that they may be of, as tables."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.delivery.predictions import read
from conveyor.domain import families
from conveyor.engine.context import Context
from conveyor.monitoring.quality import SCORED
from conveyor.sdk import labels as checks
from conveyor.stores.collections import PREDICTION_PARTS
from conveyor.stores.records import Transaction

_COLUMNS = ["id", "key", "at", "mark"]


def frames(context: Context, tx: Transaction, project: str, model: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All predictions, those that wait too, in few columns; and all labels."""
    objects = context.objects
    answered = manifest_of(objects, latest_data(tx, project, families.predictions(model))).parts
    waiting = tx.find(PREDICTION_PARTS, where={"model": f"{project}/{model}"}, limit=100_000, newest=False)
    digests = [*(part.digest for part in answered), *(piece.digest for piece in waiting)]
    empty = pl.DataFrame(schema={name: SCORED[name] for name in _COLUMNS})
    return pl.concat([empty, *(read(objects, digest, _COLUMNS) for digest in digests)]), sent(
        context, tx, project, model
    )


def sent(context: Context, tx: Transaction, project: str, model: str, since: datetime | None = None) -> pl.DataFrame:
    """All labels that are part of the dataset, in the order in which they came; those since then, and some before."""
    version = latest_data(tx, project, families.labels(model))
    parts = manifest_of(context.objects, version).within(since, None).parts
    tables = [pl.read_parquet(context.objects.path(part.digest), columns=list(checks.SCHEMA)) for part in parts]
    return pl.concat([pl.DataFrame(schema=checks.SCHEMA), *tables])
