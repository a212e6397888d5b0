"""A rollout as it is kept: its phase, and what it has seen and decided so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from conveyor.domain.canary import Counts


class Phase(StrEnum):
    PREPARE = "prepare"
    START = "start"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    DRAIN = "drain"
    DONE = "done"
    ABORTING = "aborting"
    ROLLED_BACK = "rolled_back"


CLOSED = frozenset({Phase.DONE, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Rollout:
    id: str
    environment: str  # environment id
    release: int
    previous: int | None
    created: datetime
    entered: datetime  # when the phase, or the canary step, began
    phase: Phase = Phase.PREPARE
    step: int = 0
    quick: bool = False  # a rollback: no shadow, no canary
    abort: str = ""  # asked for by a person, or the reason once decided
    culprit: str = ""  # the target that failed, when one did
    note: str = ""
    migration: str = ""  # id of the run that rehearses and migrates
    base: dict[str, Counts] = field(default_factory=dict)  # the new release's counters when the step began, by target
    live: dict[str, Counts] = field(default_factory=dict)  # the previous release's
    verdict: str = ""  # of the step that ended last
    started: datetime | None = None  # when all processes of the new release had become healthy
    warm: bool = False  # its first requests, which fill caches and pools, are behind it, and out of `base`
    slow: datetime | None = None  # since when its answers look slower than they may
    paused: datetime | None = None  # since when a person holds it where it is
    pause_until: datetime | None = None
    successor: str = ""  # the commit of a newer push that is ready to be released: it need not wait out the watch

    @property
    def state(self) -> str:
        return "closed" if self.phase in CLOSED else "open"
