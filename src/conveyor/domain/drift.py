"""Profiles of data: the reference that live traffic is compared with. Light: `statistics.py` computes them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """One feature's distribution: `counts[i]` rows lie in (edges[i-1], edges[i]], first and last bin open-ended.

    `len(counts) == len(edges) + 1`; nulls, NaN and infinities are counted apart, in `nulls`.
    `spread` is how far (PSI) the farthest window of the reference's own traffic strays from the whole of it, by the
    rows of such a window: a weekend flag is constant in any window of half a day, and that is no drift.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nulls: int = 0
    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0
    spread: tuple[tuple[int, float], ...] = ()  # (rows of a window, PSI), the smallest window first

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.nulls

    def stray(self, rows: int) -> float:
        """How far unchanged traffic strays in a window of `rows`: as in the next smaller size that was measured."""
        fitting = [psi for size, psi in self.spread if size <= rows] or [psi for _, psi in self.spread[:1]]
        return fitting[-1] if fitting else 0.0

    @property
    def constant(self) -> bool:
        return self.min == self.max and self.nulls == 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference that monitoring compares live traffic with: features by name, and the score."""

    rows: int
    features: dict[str, FeatureProfile] = field(default_factory=dict)
    score: FeatureProfile | None = None
