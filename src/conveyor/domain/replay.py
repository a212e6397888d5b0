"""What a replay is made of: policies, what became of each over history, and which one to take. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from conveyor.domain.governor import span
from conveyor.domain.metric import METRICS
from conveyor.domain.project import RetrainConfig

POLICIES = ("never", "every:PERIOD", "rows:COUNT", "drift", "decay", "data", "all", "live")
MIN_PAIRS = 3
"""Blocks that two policies must share before one is said to be as good as the other."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`name` as it was asked for; `retrain` is what the governor is given, as `[model.NAME.retrain]` would say it."""

    name: str
    retrain: RetrainConfig


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of event time and how the versions that served it did; None: not served, or undefined."""

    after: datetime
    until: datetime
    rows: int
    positives: int
    metrics: dict[str, float]
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A training that the policy asked for. `known_until` is the newest label that it could use.

    `after_value` and `after_live` compare it with what served instead in the block after it, when it was refused.
    """

    at: datetime
    known_until: datetime
    version: int
    status: str  # of an Ending: ready, refused, failed
    trigger: str
    reason: str
    seconds: float
    value: float | None = None
    reasons: tuple[str, ...] = ()  # of gates that did not pass; the error of one that failed
    after_value: float | None = None
    after_live: float | None = None


@dataclass(frozen=True, slots=True)
class Walked:
    """One policy over all of history."""

    policy: Policy
    metric: str
    blocks: tuple[Block, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    signals: dict[str, int] = field(default_factory=dict)
    declined: dict[str, int] = field(default_factory=dict)  # rule of the governor -> how often it said no

    def values(self) -> dict[datetime, float]:
        return {block.until: block.metrics[self.metric] for block in self.blocks if self.metric in block.metrics}

    @property
    def mean(self) -> float | None:
        """Of the blocks, each counting once."""
        found = list(self.values().values())
        return sum(found) / len(found) if found else None

    def mean_of(self, metric: str) -> float | None:
        found = [block.metrics[metric] for block in self.blocks if metric in block.metrics]
        return sum(found) / len(found) if found else None

    @property
    def trainings(self) -> int:
        return len(self.candidates)

    @property
    def seconds(self) -> float:
        """What its trainings cost, also where another policy had the same one."""
        return sum(candidate.seconds for candidate in self.candidates)

    @property
    def refused(self) -> int:
        return sum(candidate.status == "refused" for candidate in self.candidates)

    @property
    def failed(self) -> int:
        return sum(candidate.status == "failed" for candidate in self.candidates)

    def caught(self) -> int:
        """Refused candidates that were worse than what served instead, in the block after."""
        sign = METRICS[self.metric].sign
        return sum(
            candidate.status == "refused"
            and candidate.after_value is not None
            and candidate.after_live is not None
            and sign * candidate.after_value < sign * candidate.after_live
            for candidate in self.candidates
        )


@dataclass(frozen=True, slots=True)
class Recommendation:
    policy: str
    reason: str
    frontier: tuple[str, ...]  # no other policy is as good for less; the cheapest first


def parse(text: str, own: RetrainConfig, period: timedelta | None = None, count: int | None = None) -> Policy | None:
    """The policy of a name, or None. `period` and `count` are what stands after the colon, read by the caller.

    Cooldown, budget and rows that are needed are the model's own where the name does not say otherwise. `every:7d` is
    data with a cooldown of 7 days: it trains on what has arrived, as soon as the last training is so old.
    """
    kind = text.partition(":")[0]
    on: dict[str, RetrainConfig] = {
        "never": replace(own, on=("code",), schedule=None),
        "drift": replace(own, on=("drift", "code"), schedule=None),
        "decay": replace(own, on=("decay", "code"), schedule=None),
        "data": replace(own, on=("data", "code"), schedule=None),
        "all": replace(own, on=("data", "drift", "decay", "code")),
        "live": own,
    }
    if kind == "every" and period is not None:
        config = replace(own, on=("data", "code"), schedule=None, cooldown=period, min_new_rows=0)
    elif kind == "rows" and count is not None:
        config = replace(own, on=("data", "code"), schedule=None, min_new_rows=count)
    elif text in on:
        config = on[text]
    else:
        return None
    return Policy(text, config)


def recommend(walks: Sequence[Walked]) -> Recommendation | None:
    """The cheapest policy that is as good as the best one, by the rule of one standard error (Breiman et al. 1984).

    As good: over the blocks that both served, the mean difference from the best is no more than one standard error of
    that mean. None: no policy served anything.
    """
    found = [walk for walk in walks if walk.mean is not None]
    if not found:
        return None
    sign = METRICS[found[0].metric].sign
    best = max(found, key=lambda walk: (sign * (walk.mean or 0.0), -walk.seconds))
    frontier = _frontier(found, sign)
    for walk in frontier:
        behind = _behind(best, walk, sign)
        if walk is best or (behind is not None and behind[0] <= behind[1]):
            return Recommendation(walk.policy.name, _why(walk, best, behind), tuple(f.policy.name for f in frontier))
    raise AssertionError("the best policy is on the frontier")


def _frontier(walks: Sequence[Walked], sign: int) -> list[Walked]:
    """The cheapest first; each further one is better than all that cost less."""
    kept: list[Walked] = []
    for walk in sorted(walks, key=lambda walk: (walk.seconds, -sign * (walk.mean or 0.0))):
        if not kept or sign * (walk.mean or 0.0) > sign * (kept[-1].mean or 0.0):
            kept.append(walk)
    return kept


def _behind(best: Walked, walk: Walked, sign: int) -> tuple[float, float] | None:
    """How far a policy is behind the best on the blocks of both: (mean, standard error of it)."""
    mine, theirs = best.values(), walk.values()
    gaps = [sign * (value - theirs[block]) for block, value in mine.items() if block in theirs]
    if len(gaps) < MIN_PAIRS or len(gaps) < len(mine):
        return None  # what did not serve is no rival
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
    return mean, math.sqrt(variance / len(gaps))


def _why(walk: Walked, best: Walked, behind: tuple[float, float] | None) -> str:
    value = f"{walk.metric} {walk.mean:.4f} on average with {_count(walk)}"
    if walk is best or behind is None:
        return f"it is the best: {value}, and no cheaper one is within one standard error of it"
    if best.seconds <= walk.seconds:
        return f"it is as good as any: {value}"
    return (
        f"it is the cheapest that is as good as the best: {value}, against {best.mean:.4f} with {_count(best)} "
        f"by {best.policy.name}; the difference, {behind[0]:.4f}, is within one standard error ({behind[1]:.4f})"
    )


def _count(walk: Walked) -> str:
    return f"{walk.trainings} training{'s' if walk.trainings != 1 else ''}"


def table(retrain: RetrainConfig) -> dict[str, object]:
    """`[model.NAME.retrain]` that is this policy: keys and values, what is as the default left out."""
    plain = RetrainConfig()
    found: dict[str, object] = {"on": list(retrain.on)}
    if retrain.schedule:
        found["schedule"] = retrain.schedule
    if retrain.min_new_rows != plain.min_new_rows:
        found["min_new_rows"] = retrain.min_new_rows
    if retrain.cooldown != plain.cooldown:
        found["cooldown"] = span(retrain.cooldown)
    if retrain.debounce != plain.debounce:
        found["debounce"] = span(retrain.debounce)
    if retrain.budget != plain.budget:
        found["budget"] = {"runs_per_day": retrain.budget.runs_per_day}
    return found


@dataclass(frozen=True, slots=True)
class Replayed:
    """`seconds` is what all of it took, `training_seconds` what its distinct trainings take one after the other."""

    model: str
    metric: str
    first: datetime
    last: datetime
    rows: int
    walks: tuple[Walked, ...]
    recommendation: Recommendation | None
    seconds: float
    distinct: int
    training_seconds: float
    kept: int  # of the distinct trainings: found from an earlier replay
    jobs: int
    left_out: tuple[str, ...] = ()  # gates that need a server, or further trainings
