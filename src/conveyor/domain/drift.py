"""Profiles of data: the reference that live traffic is compared with. Light: `measures/profile.py` computes them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """One feature's distribution: `counts[i]` rows lie in (edges[i-1], edges[i]], first and last bin open-ended.

    `len(counts) == len(edges) + 1`; nulls, NaN and infinities are counted apart, in `nulls`.
    `spread` is how far (PSI) the farthest window of the reference's own traffic strays from the whole of it, by the
    rows of such a window: a weekend flag is constant in any window of half a day, and that is no drift. `dispersion`
    is how many times more than by chance windows stray on the average, by their rows.
    `fine` are about 100 edges, those of `edges` among them, and where values begin and end; of a feature that has few
    `values` each has a bin of its own, and what comes between them is new. Profiles of older versions have none.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nulls: int = 0
    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0
    spread: tuple[tuple[int, float], ...] = ()  # (rows of a window, PSI), the smallest window first
    fine: tuple[float, ...] = ()
    fine_counts: tuple[int, ...] = ()
    values: bool = False
    dispersion: tuple[tuple[int, float], ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.nulls

    @property
    def grid(self) -> tuple[float, ...]:
        """The edges that traffic is counted between."""
        return self.fine or self.edges

    @property
    def grid_counts(self) -> tuple[int, ...]:
        return self.fine_counts or self.counts

    def stray(self, rows: int) -> float:
        """How far unchanged traffic strays in a window of `rows`: as in the next smaller size that was measured."""
        return _by_size(self.spread, rows, 0.0)

    def dispersed(self, rows: int) -> float:
        return _by_size(self.dispersion, rows, 1.0)

    @property
    def constant(self) -> bool:
        return self.min == self.max and self.nulls == 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference that monitoring compares live traffic with: features by name, and the score."""

    rows: int
    features: dict[str, FeatureProfile] = field(default_factory=dict)
    score: FeatureProfile | None = None


@dataclass(frozen=True, slots=True)
class Distances:
    """How far one distribution is from its reference. `wasserstein` is in standard deviations of the reference.

    `p_value` is that of the chi-square; None where none was made. `new`, `outside` and `extreme` are shares of values:
    between the few of the reference, and none of them; beyond its range; beyond ten widths of its range.
    """

    psi: float = 0.0
    jensen_shannon: float = 0.0
    ks: float = 0.0
    wasserstein: float = 0.0
    chi_square: float = 0.0
    degrees: int = 0
    p_value: float | None = None
    new: float = 0.0
    outside: float = 0.0
    extreme: float = 0.0


def direction(mean: float, reference_mean: float, std: float) -> str:
    """Where the mean went: "up by 1.8 sd"; "" where it stayed, or the reference has one value only."""
    moved = (mean - reference_mean) / std if std > 0 else 0.0
    return "" if abs(moved) < 0.05 else f"{'up' if moved > 0 else 'down'} by {abs(moved):.2g} sd"


@dataclass(frozen=True, slots=True)
class TextProfile:
    """A column of text: the rows of its most frequent values, of all `others` together, and of none."""

    counts: dict[str, int]
    others: int = 0
    nulls: int = 0

    @property
    def rows(self) -> int:
        return sum(self.counts.values()) + self.others + self.nulls


@dataclass(frozen=True, slots=True)
class TableProfile:
    """A table as a reference for drift, in constant size: `conveyor.profile` makes one."""

    rows: int
    numbers: dict[str, FeatureProfile] = field(default_factory=dict)
    texts: dict[str, TextProfile] = field(default_factory=dict)


def _by_size(figures: tuple[tuple[int, float], ...], rows: int, unknown: float) -> float:
    fitting = [figure for size, figure in figures if size <= rows] or [figure for _, figure in figures[:1]]
    return fitting[-1] if fitting else unknown
