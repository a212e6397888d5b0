"""Freshness: a dataset whose rows have stopped to come says so once, and once more when they come again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Stale:
    """On record while nothing new has come since `since` for longer than the dataset's `fresh` allows."""

    id: str  # project/dataset
    since: datetime
    told: datetime


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is so now. `changed`: what is on record says otherwise, so it is to be told. `due`: when to look again."""

    stale: Stale | None
    changed: bool
    due: datetime | None = None


def judge(dataset: str, fresh: timedelta | None, newest: datetime, known: Stale | None, now: datetime) -> Freshness:
    """`newest` is when something came last; `fresh` None asks for nothing, and takes back what was told."""
    if fresh is None:
        return Freshness(None, changed=known is not None)
    if now < newest + fresh:
        return Freshness(None, changed=known is not None, due=newest + fresh)
    if known is not None and known.since >= newest:
        return Freshness(known, changed=False)
    return Freshness(Stale(dataset, newest, now), changed=True)
