"""A window that still fills: mergeable counts, no rows, so it can be kept as a small record between polls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from conveyor.domain.estimate import ScoreTally


@dataclass(frozen=True, slots=True)
class Tally:
    """One feature (or the score) so far, in the bins of its training profile; no bounds while nothing was finite."""

    counts: tuple[int, ...]
    nulls: int = 0  # null, NaN or infinite
    total: float = 0.0  # sum of the finite values
    low: float | None = None
    high: float | None = None

    def merge(self, other: Tally) -> Tally:
        if len(self.counts) != len(other.counts):
            raise ValueError(f"tallies of {len(self.counts)} and {len(other.counts)} bins cannot be merged")
        lows = [bound for bound in (self.low, other.low) if bound is not None]
        highs = [bound for bound in (self.high, other.high) if bound is not None]
        return Tally(
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            nulls=self.nulls + other.nulls,
            total=self.total + other.total,
            low=min(lows, default=None),
            high=max(highs, default=None),
        )

    @property
    def finite(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        return self.total / self.finite if self.finite else 0.0


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The window that predictions of one model version fall into now; a version has one, so the version names it."""

    model: str  # project/model
    version: int
    number: int = 1
    rows: int = 0
    features: dict[str, Tally] = field(default_factory=dict)
    score: Tally | None = None
    first: datetime | None = None
    last: datetime | None = None
    first_event: datetime | None = None
    last_event: datetime | None = None
    state: str = "open"
    skew: dict[str, int] = field(default_factory=dict)  # rule of the contract -> rows that break it
    blocks: ScoreTally | None = None  # the scores in the blocks of the version's calibrator

    @property
    def id(self) -> str:
        return f"{self.model}@{self.version}"

    def next(self) -> OpenWindow:
        return OpenWindow(self.model, self.version, self.number + 1)

    def add(self, other: OpenWindow) -> OpenWindow:
        """Both together; commutative and associative, but for the rounding of sums."""
        if (self.model, self.version, self.number) != (other.model, other.version, other.number):
            raise ValueError(
                f"window {other.number} of {other.id} cannot be added to window {self.number} of {self.id}"
            )
        if not self.rows or not other.rows:
            return self if other.rows == 0 else other
        features = {name: tally.merge(other.features[name]) for name, tally in self.features.items()}
        score = self.score.merge(other.score) if self.score and other.score else None
        return replace(
            self,
            rows=self.rows + other.rows,
            features=features,
            score=score,
            first=_earliest(self.first, other.first),
            last=_latest(self.last, other.last),
            first_event=_earliest(self.first_event, other.first_event),
            last_event=_latest(self.last_event, other.last_event),
            blocks=self.blocks.merge(other.blocks) if self.blocks and other.blocks else None,
            skew={rule: self.skew.get(rule, 0) + other.skew.get(rule, 0) for rule in sorted({*self.skew, *other.skew})},
        )


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment), default=None)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)
