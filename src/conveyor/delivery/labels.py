"""Labels by request: they go through the log of rows into the dataset `labels/<model>`; what became of predictions."""

from __future__ import annotations

from concurrent.futures import Future

import polars as pl

from conveyor.delivery.explain import explain
from conveyor.delivery.lookup import latest_build
from conveyor.delivery.rows import Rows, only
from conveyor.delivery.sent import frames
from conveyor.domain import families
from conveyor.domain.label import LabelStatus, LabelView
from conveyor.domain.prediction import PredictionView
from conveyor.domain.project import ModelConfig
from conveyor.domain.rows import Format, RowsTaken
from conveyor.domain.source import DATA, source
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.monitoring.labels import attached
from conveyor.sdk import labels as checks
from conveyor.stores.collections import ARRIVALS, PROJECTS


class Labels:
    def __init__(self, context: Context, rows: Rows) -> None:
        self._context = context
        self._rows = rows

    def accept(self, project: str, model: str, media: str, key: str, body: bytes) -> Future[RowsTaken]:
        """Done once the labels are durable. Whether their predictions are known yet does not matter."""
        project, _, column = self._model(project, model)
        payload, count = checks.checked(media, body, column, self._context.clock.now())
        dataset = f"{project}/{families.labels(model)}"
        return self._rows.take(dataset, Format.ARROW, key, payload, count, said=body)

    def status(self, project: str, model: str) -> LabelStatus:
        context = self._context
        project, config, _ = self._model(project, model)
        with context.records.read() as tx:
            predictions, labels = frames(context, tx, project, model)
            dataset = f"{project}/{families.labels(model)}"
            waiting = sum(tx.count(ARRIVALS, where={"dataset": dataset, "state": s}) for s in ("waiting", "ingesting"))
        mine = predictions.filter(pl.col("mark") != "shadow")
        known = attached(mine.unique("id", keep="last").lazy(), labels.lazy()).collect()
        labelled = known["label"].is_not_null()
        old = known["at"] < context.clock.now() - config.labels.horizon
        unknown = labels.filter(
            ~pl.col("id").is_in(known["id"].implode()).fill_null(False)
            & ~pl.col("key").is_in(known["key"].drop_nulls().implode()).fill_null(False)
        )
        return LabelStatus(
            f"{project}/{model}",
            known.height,
            int(labelled.sum()),
            int((~labelled & ~old).sum()),
            int((~labelled & old).sum()),
            labels.height,
            unknown.height,
            waiting,
            config.labels.horizon,
        )

    def explain(self, project: str, model: str, id_: str) -> PredictionView:
        return explain(self._context, project, model, id_)

    def list(self, project: str, model: str, limit: int) -> list[LabelView]:
        """The newest labels, the last one first."""
        project, _, _ = self._model(project, model)
        with self._context.records.read() as tx:
            _, labels = frames(self._context, tx, project, model)
        newest = labels.sort("time", descending=True).head(limit)
        return [
            LabelView(row["id"], row["key"], row["label"], row["time"].isoformat())
            for row in newest.iter_rows(named=True)
        ]

    def _model(self, project: str, model: str) -> tuple[str, ModelConfig, str | None]:
        """The project, the model's section, and the key column of the dataset that it learns from."""
        with self._context.records.read() as tx:
            project = project or only(tx.find(PROJECTS, limit=2))
            build = latest_build(tx, project)
        config = build.config.models.get(model) if build else None
        if build is None or config is None:
            names = ", ".join(sorted(build.config.models)) if build else "none: nothing was pushed yet"
            raise NotFound(f"there is no model {model[:80]!r} in project {project!r}", hint=f"Declared are: {names}.")
        first = [one.name for one in map(source, config.inputs) if one.kind == DATA]
        keys = [data.key for name, data in build.config.data.items() if (name in first or not first) and data.key]
        return project, config, keys[0] if keys else None
