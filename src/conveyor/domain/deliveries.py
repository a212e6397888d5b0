"""What the event log tells of an environment's deliveries: releases on their way, and what went wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.events import Event

DATA = "data.version_created"
_WAY_BACK = "back to release "  # how the reason of a release begins that a rollback asked for


@dataclass(slots=True)
class Attempt:
    """One release on its way."""

    number: int
    commit: str
    models: dict[str, int]
    created: datetime
    sides: set[str]
    way_back: bool
    before: Attempt | None  # what was live when it was composed
    traffic: datetime | None = None
    live: datetime | None = None
    failed: datetime | None = None
    culprit: str = ""

    @property
    def content(self) -> tuple[str, dict[str, int]]:
        return self.commit, self.models

    @property
    def blamed(self) -> set[str]:
        side = {"model": "models", "service": "code", "worker": "code"}.get(self.culprit.partition(".")[0])
        return {side} if side else self.sides


@dataclass(slots=True)
class Incident:
    sides: set[str]
    began: datetime
    model: str = ""  # over once another version of it is live
    number: int = 0  # over once this release is gone
    ended: datetime | None = None


@dataclass(slots=True)
class Story:
    """What the events tell, one after the other."""

    project: str
    subject: str
    attempts: list[Attempt] = field(default_factory=list)
    live: Attempt | None = None
    incidents: list[Incident] = field(default_factory=list)
    pending: dict[str, list[tuple[str, datetime]]] = field(default_factory=dict)  # by branch, oldest first
    branch: dict[str, str] = field(default_factory=dict)  # of a commit
    runs: dict[str, datetime] = field(default_factory=dict)
    data: datetime | None = None  # the newest dataset version
    landed: dict[str, datetime | None] = field(default_factory=dict)  # by run: the newest data when it began
    trained: dict[tuple[str, int], datetime] = field(default_factory=dict)
    leads: list[tuple[str, datetime, datetime]] = field(default_factory=list)  # side, from, until
    refused: datetime | None = None  # when a person or a rollout ruled something out last

    def tell(self, event: Event) -> None:
        told = _TOLD.get(event.type)
        if told is not None and event.project == self.project:
            told(self, event)

    def mine(self, event: Event) -> Attempt | None:
        if event.subject != self.subject:
            return None
        wanted = event.data.get("release")
        return next((each for each in reversed(self.attempts) if each.number == wanted), None)


def _pushed(story: Story, event: Event) -> None:
    branch, commit = str(event.data["branch"]), str(event.data["commit"])
    story.branch[commit] = branch
    story.pending.setdefault(branch, []).append((commit, event.time))


def _started(story: Story, event: Event) -> None:
    run = event.subject.removeprefix("run/")
    story.runs[run], story.landed[run] = event.time, story.data


def _data(story: Story, event: Event) -> None:
    story.data = event.time


def _trained(story: Story, event: Event) -> None:
    name, run = event.subject.rpartition("/")[2], str(event.data.get("run"))
    began = story.runs.get(run)
    if event.data.get("trigger") == "data":
        began = story.landed.get(run) or began
    if began is not None:
        story.trained[name, int(event.data["version"])] = began


def _created(story: Story, event: Event) -> None:
    if event.subject != story.subject:
        return
    data, live = event.data, story.live
    commit, models = str(data["commit"]), {str(name): int(number) for name, number in data["models"].items()}
    sides = {"models"} if newer(live.models if live else {}, models) else set()
    if live is None or live.commit != commit or not sides:
        sides.add("code")
    known = any(each.live is not None and each.content == (commit, models) for each in story.attempts)
    back = str(data.get("reason", "")).startswith(_WAY_BACK)
    way_back = back or (known and live is not None and live.content != (commit, models))
    story.attempts.append(Attempt(int(data["release"]), commit, models, event.time, sides, way_back, live))


def _advanced(story: Story, event: Event) -> None:
    attempt = story.mine(event)
    if attempt is None or event.data["phase"] not in ("canary", "live") or int(event.data["percent"]) <= 0:
        return
    attempt.traffic = attempt.traffic or event.time
    if event.data["phase"] == "live" and attempt.live is None:
        attempt.live = event.time
        _went_live(story, attempt, event.time)


def _went_live(story: Story, attempt: Attempt, now: datetime) -> None:
    left = attempt.before
    if attempt.way_back and left is not None and left.failed is None:
        began = story.refused if story.refused and story.refused > (left.live or left.created) else attempt.created
        left.failed = began
        story.incidents.append(Incident(left.sides, began, number=left.number))
    changed = newer(left.models if left else {}, attempt.models)
    for incident in story.incidents:
        if incident.ended is None and (incident.model in changed if incident.model else incident.number):
            incident.ended = now
    if not attempt.way_back:
        pending = story.pending.get(story.branch.get(attempt.commit, ""), [])
        commits = [commit for commit, _ in pending]
        if attempt.commit in commits:
            end = len(commits) - commits[::-1].index(attempt.commit)
            story.leads += [("code", pushed, now) for _, pushed in pending[:end]]
            del pending[:end]
        for name in changed:
            trained = (name, attempt.models[name])
            if trained in story.trained:
                story.leads.append(("models", story.trained.pop(trained), now))
    story.live = attempt


def _aborted(story: Story, event: Event) -> None:
    attempt = story.mine(event)
    if attempt is None:
        return
    if story.live is attempt:
        story.live = attempt.before
    if attempt.traffic is not None:
        attempt.failed, attempt.culprit = event.time, str(event.data.get("target", ""))
        story.incidents.append(Incident(attempt.blamed, attempt.traffic, number=attempt.number))


def _rolled_back(story: Story, event: Event) -> None:
    attempt = story.mine(event)
    if attempt is None or not event.data.get("back_to"):
        return  # nothing was live before it: the failure lasts until something is
    for incident in story.incidents:
        if incident.number == attempt.number and incident.ended is None:
            incident.ended = event.time


def _refused(story: Story, event: Event) -> None:
    if event.subject == story.subject or event.subject.startswith(f"model/{story.project}/"):
        story.refused = event.time


def _signal(story: Story, event: Event) -> None:
    name = event.subject.rpartition("/")[2]
    live = story.live
    if (
        live is None
        or name not in live.models
        or int(event.data.get("version", live.models[name])) != live.models[name]
    ):
        return
    if not any(each.model == name and each.ended is None for each in story.incidents):
        story.incidents.append(Incident({"models"}, event.time, model=name))


_TOLD: dict[str, Callable[[Story, Event], None]] = {
    "code.pushed": _pushed,
    "run.started": _started,
    DATA: _data,
    "model.version_created": _trained,
    "release.created": _created,
    "rollout.advanced": _advanced,
    "rollout.aborted": _aborted,
    "rollout.rolled_back": _rolled_back,
    "build.rejected": _refused,
    "model.rejected": _refused,
    "signal.decay": _signal,
    "signal.data_fault": _signal,
}


def newer(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return sorted(name for name, number in after.items() if before.get(name) != number)
