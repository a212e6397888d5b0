"""When a process that ended by itself is told of: the first time at once, then at most once a minute with a count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Death:
    name: str
    cause: str  # "terminated by SIGKILL", "exit status 3"


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one process: when it was told of last, and how often it ended since, with the last cause."""

    told: datetime
    untold: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Obituary:
    name: str
    cause: str
    times: int


def tell(
    tallies: Mapping[str, Tally], deaths: Iterable[Death], now: datetime
) -> tuple[dict[str, Tally], list[Obituary]]:
    """The tallies after these deaths, and what is to be told now."""
    kept = dict(tallies)
    for death in deaths:
        tally = kept.get(death.name) or Tally(now - EVERY)
        kept[death.name] = replace(tally, untold=tally.untold + 1, cause=death.cause)
    due = {name: tally for name, tally in kept.items() if now - tally.told >= EVERY}
    for name, tally in due.items():
        if tally.untold:
            kept[name] = Tally(now)
        else:
            del kept[name]
    return kept, [Obituary(name, tally.cause, tally.untold) for name, tally in due.items() if tally.untold]
