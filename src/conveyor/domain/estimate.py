"""An estimate of quality before labels come: what it is made of, constant in size. `measures/expected.py` computes it.

Light: the model server reads it with the manifest, and has no need of numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Calibrator:
    """How often a score of each block was positive, on labelled rows that the model was not trained on.

    Block i holds the scores in (edges[i-1], edges[i]], the first and last open-ended, so there is one more than edges.
    `offsets`: metric -> its true value on those rows, less the one that is expected from the blocks alone: what the
    order of rows inside of a block adds.
    """

    edges: tuple[float, ...]
    rows: tuple[float, ...]
    positives: tuple[float, ...]
    offsets: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0  # so many rows are remembered when later labels renew it


@dataclass(frozen=True, slots=True)
class ScoreTally:
    """Scores counted into a calibrator's blocks: mergeable, and all that an estimate needs.

    `losses`: metric -> for each block the sums of the loss if the label were 0, and if it were 1.
    """

    counts: tuple[int, ...]
    losses: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def merge(self, other: ScoreTally) -> ScoreTally:
        if len(self.counts) != len(other.counts):
            raise ValueError(f"tallies of {len(self.counts)} and {len(other.counts)} blocks cannot be merged")
        losses = {
            name: (_added(mine[0], other.losses[name][0]), _added(mine[1], other.losses[name][1]))
            for name, mine in self.losses.items()
            if name in other.losses
        }
        return ScoreTally(tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)), losses)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a metric is expected to be, with an interval in which its true value on these rows is likely to lie."""

    metric: str
    value: float
    low: float
    high: float
    confidence: float = 0.95


def _added(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of a model version now: its calibrator, renewed by the labels that have come since training."""

    id: str  # project/model@version
    model: str  # project/model
    calibrator: Calibrator
    errors: tuple[float, ...] = ()  # of the newest estimates that labels were compared with, estimate less truth
    low: int = 0  # windows in a row whose estimate is below the bound

    @property
    def uncertainty(self) -> float:
        """How far past estimates were off, on average; 0 while none was compared."""
        return sum(map(abs, self.errors)) / len(self.errors) if self.errors else 0.0
