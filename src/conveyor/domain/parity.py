"""Feature parity: what was served beside what the model's steps make of the data, counted by feature. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.step import InputSpec

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""Values are the same within so much: the log keeps 32-bit numbers."""


@dataclass(frozen=True, slots=True)
class ParitySpec:
    """`made` is what the model's training reads; `served` are Parquet files of predictions; `features` by the names
    that they have there."""

    made: InputSpec
    served: tuple[str, ...]
    features: dict[str, str]
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeatureParity:
    """Rows that were compared and that differ, the largest difference, and the worst as (id, served, made)."""

    compared: int
    differing: int = 0
    largest: float = 0.0
    worst: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Of `rows` predictions, `found` have a row of the same key in what the steps made."""

    rows: int
    found: int
    features: dict[str, FeatureParity] = field(default_factory=dict)

    @property
    def differing(self) -> tuple[str, ...]:
        """The features that differ anywhere, the one in most rows first."""
        odd = [name for name, each in self.features.items() if each.differing]
        return tuple(sorted(odd, key=lambda name: -self.features[name].differing))


def told(report: ParityReport) -> Iterator[str]:
    """For a person, a line each."""
    if not report.rows:
        yield "There are no predictions with a key in that time."
        return
    yield f"{report.found:,} of {report.rows:,} predictions have a row of their key in the data"
    for name in report.differing:
        each = report.features[name]
        yield f"  {name}: {each.differing:,} of {each.compared:,} differ, by {each.largest:.6g} at most"
        for id_, served, made in each.worst:
            yield f"    {id_}: served {served:.6g}, the data give {made:.6g}"
    if report.found and not report.differing:
        yield f"  all {len(report.features)} features are the same in all of them"
