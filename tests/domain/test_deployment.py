"""What `conveyor deploy` makes of events: every end that a push can have, and nothing of other pushes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conveyor.domain.deployment import Deployment, Outcome, follow
from conveyor.domain.events import Event

MINE, OTHER = "a" * 40, "b" * 40
PUSH = Deployment("shop", "main", MINE)


def event(type_: str, subject: str = "project/shop", project: str = "shop", **data: object) -> Event:
    return Event("id", type_, subject, datetime(2026, 1, 1, tzinfo=UTC), project, data)


def told(deployment: Deployment, *events: Event) -> tuple[Deployment, list[str]]:
    lines = []
    for each in events:
        deployment, line = follow(deployment, each)
        lines += [line] if line else []
    return deployment, lines


STAGING, PRODUCTION = "environment/shop/staging", "environment/shop/production"
BEGIN = (
    event("code.pushed", branch="main", commit=MINE, author="Ann", message="Hi"),
    event("run.started", "run/r1", kind="build", about=MINE),
)
BUILT = (*BEGIN, event("build.ready", commit=MINE, build="d", run="r1"))


def released(subject: str, number: int, *phases: str) -> list[Event]:
    created = event("release.created", subject, release=number, commit=MINE, reason="")
    moves = [
        event("rollout.advanced", subject, release=number, phase=p, percent=50, note="", seconds=1) for p in phases
    ]
    return [created, *moves]


def test_live_is_live_everywhere() -> None:
    after, _ = told(PUSH, *BUILT)
    assert (after.seen, after.run, after.build, after.waits) == (True, "r1", "d", True)
    both = replace(after, environments=("staging", "production"))
    half, lines = told(both, *released(STAGING, 3, "prepare", "canary", "live"))
    assert half.outcome is Outcome.OPEN
    assert len(lines) == 4
    # A rollout of another release, and other projects, are none of its business.
    same, lines = told(half, *(event("rollout.aborted", PRODUCTION, release=8, reason="x", target="", phase="canary"),))
    assert (same, lines) == (half, [])
    done, _ = told(half, *released(PRODUCTION, 9, "live"))
    assert (done.outcome, done.live) == (Outcome.LIVE, ("staging", "production"))
    assert told(done, event("rollout.rolled_back", PRODUCTION, release=9, back_to=8, reason="x"))[0] == done


@pytest.mark.parametrize(
    ("last", "outcome", "reason"),
    [
        (
            event("run.failed", "run/r1", kind="build", about=MINE, error="test:web: exit code 1"),
            "failed",
            "exit code 1",
        ),
        (event("run.cancelled", "run/r1", kind="build", about=MINE, error="by a person"), "failed", "by a person"),
        (event("code.superseded", commit=MINE, newer=OTHER, branch="main", run="r1"), "superseded", OTHER[:8]),
        (event("project.config_invalid", branch="main", commit=MINE, problems=["one", "two"]), "failed", "one; two"),
    ],
)
def test_a_push_can_end_before_its_release(last: Event, outcome: str, reason: str) -> None:
    ended, _ = told(PUSH, *BEGIN, last)
    assert ended.outcome == outcome
    assert reason in ended.reason


def test_a_rollback_is_told_with_its_reason() -> None:
    back = event("rollout.rolled_back", PRODUCTION, release=9, back_to=8, reason="web answered 500")
    ended, lines = told(PUSH, *BUILT, *released(PRODUCTION, 9, "canary"), back)
    assert (ended.outcome, ended.reason) == (Outcome.ROLLED_BACK, "web answered 500")
    assert "rolled back" in lines[-1]


def test_others_do_not_count() -> None:
    strange = [
        event("code.pushed", branch="main", commit=OTHER, author="", message=""),
        event("run.started", "run/r2", kind="build", about=OTHER),
        event("code.superseded", commit=MINE, newer=OTHER, branch="topic", run=""),
        event("build.ready", project="web", commit=MINE, build="x", run=""),
        event("release.created", PRODUCTION, release=1, commit=OTHER, reason=""),
    ]
    assert told(PUSH, *strange) == (PUSH, [])


def test_a_preview_is_followed_without_being_named_before() -> None:
    ended, _ = told(PUSH, *BUILT, *released("environment/shop/preview-x", 1, "live"))
    assert (ended.outcome, ended.live) == (Outcome.LIVE, ("preview-x",))


def test_a_preview_joins_with_its_address_and_a_rejection_ends_the_waiting() -> None:
    preview = "environment/shop/preview-x"
    created = event("environment.created", preview, branch="main", address="http://preview-x.shop.localhost:1")
    joined, lines = told(PUSH, *BEGIN, created)
    assert joined.environments == ("preview-x",)
    assert lines[-1].endswith("It answers at http://preview-x.shop.localhost:1")
    assert told(joined, event("environment.ended", preview, reason="it expired"))[0].outcome is Outcome.IGNORED
    waiting, _ = told(replace(PUSH, environments=("production",)), *BUILT)
    other = event("release.rejected", PRODUCTION, reason="no", components=["build:another"])
    assert told(waiting, other)[0] == waiting
    mine = event("release.rejected", PRODUCTION, reason="no", components=["build:d"])
    assert told(waiting, mine)[0].outcome is Outcome.ROLLED_BACK
