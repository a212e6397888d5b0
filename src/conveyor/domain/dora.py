"""The four keys of software delivery, for code and for models, from the event log alone. Pure.

The keys are those of DORA (dora.dev/guides/dora-metrics; Forsgren, Humble and Kim, "Accelerate", 2018). What stands for
them in an environment of Conveyor:

    deployment          a release got all traffic, and was not a way back
    lead time, code     from the push of each commit until a release that holds it got all traffic; a commit that failed
                        or gave way to a newer push of its branch goes live with the one after it
    lead time, models   from the dataset version that set the training off, or else from the training's beginning,
                        until a release with that model version got all traffic
    failed change       a release that had traffic, and was aborted, or left by going back to an earlier one
    time to restore     of an abort: from the first traffic of the failed release until traffic was back. Of a way back:
                        from a person's word until the earlier content was live. Of a model's decay or data fault: from
                        the signal until another version of it was live

A release counts for code when it brings another commit (or only other settings), for models when it brings another
version of one; for both, when both. A failure counts for the side of the target that failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from conveyor.domain.deliveries import Story
from conveyor.domain.events import Event

TYPES = (
    "code.pushed",
    "model.version_created",
    "release.created",
    "rollout.advanced",
    "rollout.aborted",
    "rollout.rolled_back",
    "build.rejected",
    "model.rejected",
    "signal.decay",
    "signal.data_fault",
)
"""What is read of the log, with `run.started` of each training and the `data.version_created` just before it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds; None when it never happened."""

    count: int = 0
    median: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    deployments: int
    per_day: float
    lead_time: Spread
    tried: int  # releases that had traffic
    failed: int
    failure_rate: float | None
    restore: Spread
    unrestored: int  # failures that are not over


@dataclass(frozen=True, slots=True)
class Dora:
    project: str
    environment: str
    since: datetime
    until: datetime
    code: Keys
    models: Keys


def figures(events: Iterable[Event], project: str, environment: str, since: datetime, until: datetime) -> Dora:
    """Of what happened after `since`, up to `until`. Earlier events are needed: what went live was pushed before."""
    story = Story(project, f"environment/{project}/{environment}")
    for event in sorted(events, key=lambda each: each.seq):
        if event.time <= until:
            story.tell(event)
    code, models = (_keys(story, side, since, until) for side in ("code", "models"))
    return Dora(project, environment, since, until, code, models)


def _keys(story: Story, side: str, since: datetime, until: datetime) -> Keys:
    mine = [each for each in story.attempts if side in each.sides and not each.way_back]
    live = sum(each.live is not None and since < each.live <= until for each in mine)
    tried = [each for each in story.attempts if not each.way_back and each.traffic is not None]
    tried = [each for each in tried if each.traffic and since < each.traffic <= until]
    failed = sum(each.failed is not None and side in each.blamed for each in tried)
    counted = sum(side in each.sides or (each.failed is not None and side in each.blamed) for each in tried)
    ended = [
        (each.ended - each.began).total_seconds()
        for each in story.incidents
        if side in each.sides and each.ended is not None and since < each.ended <= until
    ]
    leads = [(to - start).total_seconds() for s, start, to in story.leads if s == side and since < to <= until]
    return Keys(
        deployments=live,
        per_day=live / ((until - since) / timedelta(days=1)),
        lead_time=_spread(leads),
        tried=counted,
        failed=failed,
        failure_rate=failed / counted if counted else None,
        restore=_spread(ended),
        unrestored=sum(side in each.sides and each.ended is None for each in story.incidents),
    )


def _spread(seconds: list[float]) -> Spread:
    if not seconds:
        return Spread()
    ordered, count = sorted(seconds), len(seconds)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return Spread(count, median, ordered[ceil(0.9 * count) - 1])
