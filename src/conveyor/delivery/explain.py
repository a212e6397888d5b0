"""One prediction by its id: looked for from the newest on, in the dataset and in what waits to become part of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from conveyor.delivery.lookup import latest_build, latest_data, manifest_of
from conveyor.delivery.predictions import read
from conveyor.delivery.sent import sent
from conveyor.domain import families
from conveyor.domain.prediction import PredictionView
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.monitoring.labels import attached
from conveyor.monitoring.quality import SCORED
from conveyor.stores.collections import MODEL_VERSIONS, PREDICTION_PARTS, PROJECTS
from conveyor.stores.records import Transaction

_OURS = frozenset({*SCORED, "release", "caller", "label", "told"})


def explain(context: Context, project: str, model: str, id_: str) -> PredictionView:
    """`project` and `model` may be empty: then all are looked through. `id_` may be the key that the request gave; of
    several rows with it the newest is told of. Raises NotFound."""
    with context.records.read() as tx:
        for place, name in _models(tx, project, model):
            for digest in _objects(context, tx, place, name):
                path = context.objects.path(digest)
                schema = pl.read_parquet_schema(path)
                wanted = (pl.col(column) == id_ for column in ("id", "key") if column in schema)
                found = pl.scan_parquet(path, glob=False).select(pl.any_horizontal(*wanted).any()).collect().item()
                if found:
                    rows = read(context.objects, digest).filter((pl.col("id") == id_) | (pl.col("key") == id_))
                    labels = sent(context, tx, place, name)
                    row = attached(rows.sort("at").tail(1).lazy(), labels.lazy()).collect().row(0, named=True)
                    return _view(tx, f"{place}/{name}", row)
    raise NotFound(
        f"no prediction {id_[:80]!r} is on record" + (f" of {model}" if model else ""),
        hint="It is found about a second after its answer, by the answer's id, or by the key that the request gave.",
    )


def _models(tx: Transaction, project: str, model: str) -> Iterable[tuple[str, str]]:
    for name in [project] if project else [each.name for each in tx.find(PROJECTS, limit=1000)]:
        build = latest_build(tx, name)
        yield from ((name, each) for each in (build.config.models if build else ()) if model in ("", each))


def _objects(context: Context, tx: Transaction, project: str, model: str) -> Iterable[str]:
    waiting = tx.find(PREDICTION_PARTS, where={"model": f"{project}/{model}"}, limit=100_000)
    yield from (piece.digest for piece in waiting)
    manifest = manifest_of(context.objects, latest_data(tx, project, families.predictions(model)))
    yield from (part.digest for part in reversed(manifest.parts))


def _view(tx: Transaction, model: str, row: dict[str, Any]) -> PredictionView:
    version = tx.get(MODEL_VERSIONS, f"{model}@{row['version']}")
    names = version.signature.features if version else ()
    logged = {families.column(name): name for name in names}
    return PredictionView(
        id=row["id"],
        key=row["key"],
        model=model,
        version=row["version"],
        release=row.get("release"),
        mark=row["mark"],
        at=row["at"],
        time=row["time"],
        score=row["score"],
        features={logged.get(n, n): value for n, value in row.items() if n not in _OURS and (n in logged or not names)},
        data=dict(version.data) if version else {},
        commit=version.commit if version else "",
        trained=version.reason if version else "",
        label=row["label"],
        told=row["told"],
    )
