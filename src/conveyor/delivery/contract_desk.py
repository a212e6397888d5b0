"""What a dataset demands of its rows, as written and as its rows would have it."""

from __future__ import annotations

import polars as pl

from conveyor.delivery.arrivals import table_of
from conveyor.delivery.lookup import latest_build, latest_data, manifest_of
from conveyor.domain.contract import inline_of
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.odcs import Contract
from conveyor.domain.project import DataConfig
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.sdk.infer import infer


class ContractDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def written(self, project: str, dataset: str) -> Contract:
        """As conveyor.toml says it, with the schema of the newest version."""
        data, version = self._found(project, dataset)
        return Contract(
            project,
            dataset,
            data.rules,
            data.key,
            data.time,
            data.contract,
            version.schema if version else {},
            version.version if version else None,
        )

    def inferred(self, project: str, dataset: str) -> Contract:
        """Rules that all rows of the newest version satisfy."""
        data, version = self._found(project, dataset)
        manifest = manifest_of(self._context.objects, version)
        if version is None or not manifest.parts:
            raise NotFound(
                f"{dataset} has no rows to infer rules from", hint=f"Add a file: conveyor data add {dataset} FILE"
            )
        paths = [self._context.objects.path(part.digest) for part in manifest.parts]
        rules = infer(pl.scan_parquet(paths, glob=False), key=data.key, time=data.time)
        return Contract(project, dataset, inline_of(rules), data.key, data.time, None, version.schema, version.version)

    def _found(self, project: str, dataset: str) -> tuple[DataConfig, DatasetVersion | None]:
        with self._context.records.read() as tx:
            data = table_of(latest_build(tx, project), project, dataset)
            return data, latest_data(tx, project, dataset)
