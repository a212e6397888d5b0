"""Profiles of data: the reference that live traffic is compared with. Light: `statistics.py` computes them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """One feature's distribution: `counts[i]` rows lie in (edges[i-1], edges[i]], first and last bin open-ended.

    `len(counts) == len(edges) + 1`; nulls, NaN and infinities are counted apart, in `nulls`.
    `spread` is how far (PSI) a window of the reference's own traffic strays from the whole of it: a weekend flag is
    constant in any window of half a day, and that is no drift. 0 when the reference was too small to tell.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    nulls: int = 0
    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0
    spread: float = 0.0

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.nulls

    @property
    def constant(self) -> bool:
        return self.min == self.max and self.nulls == 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference that monitoring compares live traffic with: features by name, and the score."""

    rows: int
    features: dict[str, FeatureProfile] = field(default_factory=dict)
    score: FeatureProfile | None = None
