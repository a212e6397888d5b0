"""What the page of a dataset shows, read at one moment. The cost is that of two profiles, whatever its size."""

from __future__ import annotations

from collections import defaultdict

from conveyor.delivery.arrivals import configured
from conveyor.delivery.lineage import LineageDesk
from conveyor.delivery.lookup import latest_build
from conveyor.domain.contract import Rule, rules_of
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.dataset_view import DatasetPage
from conveyor.domain.lineage import Lineage
from conveyor.domain.project import DataConfig
from conveyor.domain.table_diff import ColumnDiff, columns
from conveyor.engine.context import Context
from conveyor.errors import CorruptObject, NotFound
from conveyor.sdk import sketch
from conveyor.sdk.shift import histogram, shifts
from conveyor.stores.collections import ARRIVALS, DATA_TAGS, DATASET_VERSIONS, QUARANTINE

_VERSIONS, _HELD, _BINS = 30, 10, 20
_LOOKED = 200  # entries of the quarantine

Sketches = dict[str, sketch.Sketch]


class DatasetDesk:
    def __init__(self, context: Context, lineage: LineageDesk) -> None:
        self._context = context
        self._lineage = lineage

    def page(self, project: str, dataset: str) -> DatasetPage:
        """Raises NotFound with the datasets that there are."""
        where = {"dataset": f"{project}/{dataset}"}
        with self._context.records.read() as tx:
            config = configured(latest_build(tx, project), project, dataset)
            versions = tx.find(DATASET_VERSIONS, where=where, limit=_VERSIONS)
            total = tx.count(DATASET_VERSIONS, where=where)
            tags = defaultdict[int, tuple[str, ...]](tuple)
            for tag in tx.find(DATA_TAGS, where=where, limit=1000, newest=False):
                tags[tag.version] += (tag.name,)
            waiting, refused = (tx.count(ARRIVALS, where={**where, "state": each}) for each in ("waiting", "refused"))
            held = [each for each in tx.find(QUARANTINE, where=where, limit=_LOOKED) if each.state == "held"][:_HELD]
        rules = defaultdict[str, tuple[Rule, ...]](tuple)
        for rule in rules_of(config.rules):
            rules[rule.column] += (rule,)
        after, before = (*versions, None, None)[:2]
        new = self._sketches(after)
        return DatasetPage(
            project=project,
            name=dataset,
            files=config.kind == "files",
            versions=tuple(versions),
            total=total,
            tags=dict(tags),
            columns=self._columns(config, before, after, new),
            histograms={name: found for name, each in new.items() if (found := histogram(each, _BINS))},
            rules=dict(rules),
            contract=config.contract or "",
            waiting=waiting,
            refused=refused,
            held=tuple(held),
            lineage=self._around(project, after),
        )

    def _columns(
        self, config: DataConfig, before: DatasetVersion | None, after: DatasetVersion | None, new: Sketches
    ) -> tuple[ColumnDiff, ...]:
        old = self._sketches(before)
        moved = shifts(old, new, (config.key, config.time)) if old and new else {}
        return columns(before.profile if before else None, after.profile if after else None, moved)

    def _sketches(self, version: DatasetVersion | None) -> Sketches:
        """Of what was erased, or is damaged, nothing is drawn; `conveyor data verify` tells of damage."""
        digest = version.profile.sketches if version and version.profile else ""
        try:
            return (sketch.from_bytes(self._context.objects.get(digest)) if digest else None) or {}
        except (NotFound, CorruptObject):
            return {}

    def _around(self, project: str, version: DatasetVersion | None) -> Lineage | None:
        if version is None:
            return None
        try:
            return self._lineage.find(project, f"{version.name}@{version.version}")
        except (NotFound, CorruptObject):
            return None
