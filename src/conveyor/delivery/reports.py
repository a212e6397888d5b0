"""What the desk answers about releases as a whole: one with its receipt, and the four keys of delivery."""

from __future__ import annotations

from datetime import timedelta

from conveyor.config.duration import parse_duration
from conveyor.domain import dora
from conveyor.domain.deliveries import DATA
from conveyor.domain.dora import Dora
from conveyor.domain.events import Event
from conveyor.domain.release import Environment, Release
from conveyor.domain.release_view import ReleaseView, VerdictLine
from conveyor.domain.rollout import Phase, Rollout
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.collections import (
    BUILDS,
    ENVIRONMENTS,
    MODEL_VERSIONS,
    PROJECTS,
    RECEIPTS,
    RELEASES,
    ROLLOUTS,
    SHADOWS,
)
from conveyor.stores.records import Transaction

_EARLIER = timedelta(days=30)
"""What went live in a window was pushed or trained at most this long before it; what is older has no lead time."""
_LONGEST = timedelta(days=366)
_CLOCKS = timedelta(minutes=1)  # by how much times in the log may be out of order
_FRESH = timedelta(minutes=1)
_PAGE = 1000
_MANY = 200


class Reports:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._recent: dict[tuple[str, str], Dora] = {}

    def release(self, project: str, environment: str, number: int | None) -> ReleaseView:
        """By its number; without one the release that is being rolled out, or else the live one."""
        with self._context.records.read() as tx:
            place = tx.need(ENVIRONMENTS, f"{project}/{environment}")
            rollout = tx.get(ROLLOUTS, place.rollout) if place.rollout else None
            wanted = number or (rollout.release if rollout else place.live)
            release = tx.get(RELEASES, f"{place.id}/{wanted}") if wanted else None
            if release is None:
                what = f"release {number}" if number else "release yet"
                raise NotFound(f"there is no {what} in {place.id}", hint="`conveyor release list` shows what there is.")
            return _view(tx, place, release)

    def dora(self, project: str, environment: str, window: str) -> Dora:
        length = parse_duration(window)
        if length is None or not timedelta(0) < length <= _LONGEST:
            raise InputRejected(f"{window[:40]!r} is not a window", hint="Say 7d, 30d or 90d; at most 366d.")
        until = self._context.clock.now()
        with self._context.records.read() as tx:
            place = tx.need(ENVIRONMENTS, f"{self._project(tx, project)}/{environment}")
            events = _read(tx, place.project, tx.position(until - length - _EARLIER - _CLOCKS))
            events += _trainings(tx, place, events)
        return dora.figures(events, place.project, place.name, until - length, until)

    def recent_dora(self, project: str, environment: str) -> Dora:
        """Of the last 30 days, at most a minute old: a page is opened more often than these figures change."""
        found = self._recent.get((project, environment))
        if found is None or self._context.clock.now() - found.until >= _FRESH:
            found = self._recent[project, environment] = self.dora(project, environment, "30d")
        return found

    def _project(self, tx: Transaction, project: str) -> str:
        """The one named, or the only one."""
        if project:
            return project
        names = [each.name for each in tx.find(PROJECTS, limit=_MANY, newest=False)]
        if len(names) != 1:
            raise InputRejected(
                f"there are {len(names)} projects" if names else "no project was pushed yet",
                hint=f"Name one: {', '.join(names)}." if names else "Push one: `conveyor up` prints the git remote.",
            )
        return names[0]


def _view(tx: Transaction, place: Environment, release: Release) -> ReleaseView:
    rollout = tx.get(ROLLOUTS, release.id)
    build = tx.get(BUILDS, f"{release.project}/{release.build}")
    config = build.config if build else None
    names = [*config.services, *config.workers] if config else []
    versions = {
        name: tx.get(MODEL_VERSIONS, f"{release.project}/{name}@{number}") for name, number in release.models.items()
    }
    told = tx.events(subject=f"environment/{place.id}", types=("rollout.verdict",), limit=_MANY, newest=True)
    mine = [event for event in reversed(told) if event.data.get("release") == release.number]
    return ReleaseView(
        release=release,
        state=_state(place, release, rollout),
        phase=rollout.phase if rollout else "",
        why=rollout.abort if rollout else "",
        author=build.author if build else "",
        subject=build.subject if build else "",
        trees={name: build.part(name).tree for name in names} if build else {},
        metrics={name: version.metrics for name, version in versions.items() if version},
        verdicts=tuple(_verdict(event) for event in mine),
        receipt=tx.get(RECEIPTS, release.id),
        shadows=tuple(tx.find(SHADOWS, where={"rollout": release.id}, limit=_MANY, newest=False)),
    )


def _state(place: Environment, release: Release, rollout: Rollout | None) -> str:
    if rollout is not None and rollout.phase is Phase.ROLLED_BACK:
        return "rolled back"
    if place.rollout == release.id:
        return "rolling out"
    return "live" if place.live == release.number else "replaced"


def _verdict(event: Event) -> VerdictLine:
    data = event.data
    return VerdictLine(
        event.time, int(data.get("percent", 0)), str(data.get("verdict", "")), str(data.get("reason", ""))
    )


def _read(tx: Transaction, project: str, after: int) -> list[Event]:
    found: list[Event] = []
    while page := tx.events(after=found[-1].seq if found else after, project=project, types=dora.TYPES, limit=_PAGE):
        found += page
    return found


def _trainings(tx: Transaction, place: Environment, events: list[Event]) -> list[Event]:
    """When the trainings of released model versions began, and the data that they found: two look-ups each."""
    released = {
        (str(name), int(number))
        for event in events
        if event.type == "release.created" and event.subject == f"environment/{place.id}"
        for name, number in event.data.get("models", {}).items()
    }
    found: dict[int, Event] = {}
    for event in events:
        name = event.subject.rpartition("/")[2]
        if event.type != "model.version_created" or event.project != place.project:
            continue
        if (name, int(event.data["version"])) not in released:
            continue
        for began in tx.events(subject=f"run/{event.data.get('run')}", types=("run.started",), limit=1):
            found[began.seq] = began
            for data in tx.events(types=(DATA,), project=place.project, before=began.seq, limit=1, newest=True):
                found[data.seq] = data
    return list(found.values())
