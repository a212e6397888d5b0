"""Drift of a table against a reference, column by column: values for people, JSON and code. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conveyor.domain.drift import Distances, direction
from conveyor.domain.measures.multiple import benjamini_hochberg
from conveyor.domain.table_diff import LIMIT as LIMIT

FALSE_ALARMS = 0.01


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One column; of a text `mean` and the like are None. `p_value` is corrected for all columns together."""

    name: str
    kind: str  # number or text
    distances: Distances
    p_value: float
    null_share: float
    reference_null_share: float
    mean: float | None = None
    reference_mean: float | None = None
    reference_std: float | None = None
    drifted: bool = False

    @property
    def direction(self) -> str:
        if self.mean is None or self.reference_mean is None or self.reference_std is None:
            return ""
        return direction(self.mean, self.reference_mean, self.reference_std)


@dataclass(frozen=True, slots=True)
class Together:
    """How well a classifier tells rows of the one table from rows of the other: the area under its ROC curve, with an
    interval. 0.5: not at all."""

    auc: float
    low: float
    high: float
    confidence: float
    rows: int
    drifted: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """`exact`: of all rows of both; else of a profile of the reference, within 1 % of rank."""

    rows: int
    reference_rows: int
    exact: bool
    limit: float
    false_alarms: float
    columns: tuple[ColumnDrift, ...]
    gone: tuple[str, ...] = ()  # columns of the reference that are missing, or of another kind
    new: tuple[str, ...] = ()
    together: Together | None = None  # where it was asked for, and there are rows enough

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.drifted)

    @property
    def message(self) -> str:
        return " ".join(part for part in (self._alone, self._all) if part)

    @property
    def _all(self) -> str:
        found = self.together
        if found is None:
            return ""
        interval = f"AUC {found.auc:.3f}, {found.confidence:.0%} interval {found.low:.3f} to {found.high:.3f}"
        told = "tells" if found.drifted else "does not tell"
        return f"All numbers together: a classifier {told} the two apart ({interval})."

    @property
    def _alone(self) -> str:
        moved = [column for column in self.columns if column.drifted]
        if not moved:
            return f"No column moved away from the reference; the limit is a PSI of {self.limit:g}."
        told = [f"{c.name} (PSI {c.distances.psi:.2f}{', ' + c.direction if c.direction else ''})" for c in moved]
        return f"{', '.join(told)} moved away from the reference; the limit is a PSI of {self.limit:g}."


def judged(columns: list[ColumnDrift], limit: float, false_alarms: float) -> tuple[ColumnDrift, ...]:
    """Drifted: the PSI passes the limit, and the chi-square is significant among all columns. The farthest first."""
    adjusted = benjamini_hochberg([column.p_value for column in columns])
    found = [
        replace(column, p_value=p, drifted=column.distances.psi > limit and p <= false_alarms)
        for column, p in zip(columns, adjusted, strict=True)
    ]
    return tuple(sorted(found, key=lambda column: (-column.distances.psi, column.name)))
