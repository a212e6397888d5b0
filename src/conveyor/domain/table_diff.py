"""What changed between two versions of a table: rows, columns, statistics, drift. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conveyor.domain.dataset import ColumnProfile, DatasetProfile

LIMIT = 0.25
"""A column whose PSI passes this has moved away: what monitoring takes for drift unless a project says otherwise."""
CHANCE = 3.0
"""How many times the PSI that chance explains it has to pass as well."""


@dataclass(frozen=True, slots=True)
class RowsChanged:
    """Rows that only one of the versions has. With a key, `changed` counts those that both have, with other values."""

    before: int
    after: int
    added: int
    removed: int
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a column's distribution moved, and how far chance alone moves one of as many rows."""

    psi: float
    chance: float

    @property
    def drifted(self) -> bool:
        return self.psi > max(LIMIT, CHANCE * self.chance)


@dataclass(frozen=True, slots=True)
class ColumnDiff:
    """One column in both versions; None where a version lacks it. No `shift`: nothing to compare (times, keys)."""

    name: str
    before: ColumnProfile | None
    after: ColumnProfile | None
    shift: Shift | None = None

    @property
    def words(self) -> str:
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        if self.before.dtype != self.after.dtype:
            return f"was {self.before.dtype}"
        if self.shift is None:
            return ""
        return "moved away" if self.shift.drifted else "steady"


@dataclass(frozen=True, slots=True)
class TableDiff:
    before: str  # payments@v3
    after: str
    rows: RowsChanged
    columns: tuple[ColumnDiff, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.shift and column.shift.drifted)

    @property
    def message(self) -> str:
        """In the words of a drift signal."""
        moved = [f"{c.name} (PSI {c.shift.psi:.2f}{_means(c)})" for c in self.columns if c.shift and c.shift.drifted]
        if not moved:
            return f"No column of {self.after} moved away from {self.before}; the limit is {LIMIT:g}."
        names = moved[0] if len(moved) == 1 else f"{', '.join(moved[:-1])} and {moved[-1]}"
        return f"{names} moved away from {self.before} in {self.after}; the limit is {LIMIT:g}."


def columns(
    before: DatasetProfile | None, after: DatasetProfile | None, shifts: Mapping[str, Shift]
) -> tuple[ColumnDiff, ...]:
    """Side by side, in the order of the later version; what is gone comes last."""
    old, new = (profile.columns if profile else {} for profile in (before, after))
    return tuple(
        ColumnDiff(name, old.get(name), new.get(name), shifts.get(name)) for name in [*new, *(old.keys() - new)]
    )


def _means(column: ColumnDiff) -> str:
    if column.before is None or column.after is None or column.before.mean is None or column.after.mean is None:
        return ""
    return f", mean {column.after.mean:.4g} against {column.before.mean:.4g}"
