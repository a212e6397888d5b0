"""A release with all that is told of it in one place: what it holds, how its rollout went, its receipt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.receipt import Receipt
from conveyor.domain.release import Release
from conveyor.domain.shadow import Shadowed


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """How a step of the canary was judged."""

    time: datetime
    percent: int
    verdict: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """`state` is live, rolling out, replaced or rolled back; `trees` are the services' and workers' source digests."""

    release: Release
    state: str
    phase: str = ""  # of the rollout
    why: str = ""  # it was rolled back
    author: str = ""
    subject: str = ""  # of the commit
    trees: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)  # by model
    verdicts: tuple[VerdictLine, ...] = ()
    receipt: Receipt | None = None
    shadows: tuple[Shadowed, ...] = ()  # of its models: beside the version that was live
