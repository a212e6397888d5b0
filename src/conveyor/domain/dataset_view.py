"""A dataset as its page tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from conveyor.domain.contract import Rule
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.lineage import Lineage
from conveyor.domain.state import Quarantined
from conveyor.domain.table_diff import LIMIT, ColumnDiff


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """`versions` newest first; `columns` compare the newest with the one before it; `histograms` are of the newest,
    shares by column. A dataset of files has neither."""

    project: str
    name: str
    files: bool
    versions: tuple[DatasetVersion, ...]
    total: int  # versions, of which `versions` are the newest
    tags: dict[int, tuple[str, ...]]
    columns: tuple[ColumnDiff, ...]
    histograms: dict[str, tuple[float, ...]]
    rules: dict[str, tuple[Rule, ...]]  # by column
    contract: str  # the Pandera model that checks it, if one does
    waiting: int
    refused: int
    held: tuple[Quarantined, ...]  # newest first
    lineage: Lineage | None = None  # of the newest version
    limit: float = field(default=LIMIT)

    @property
    def newest(self) -> DatasetVersion | None:
        return self.versions[0] if self.versions else None
