"""Alerts: what somebody should look at, once, for as long as it is so. Pure.

One alert is open for a subject and a kind. More of the same updates it; it resolves after so many windows without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from conveyor.domain.events import Event
from conveyor.domain.project import AlertsConfig

DAY = timedelta(days=1)


class AlertKind(StrEnum):
    DATA_FAULT = "data_fault"
    OBSERVATIONS_LOST = "observations_lost"
    ROLLBACK = "rollback"
    LOOP_GUARD = "loop_guard"
    TRAINING_FAILED = "training_failed"
    DECAY = "decay"
    ESTIMATED_DECAY = "estimated_decay"
    DRIFT = "drift"
    STALE = "stale"

    @property
    def label(self) -> str:
        return self.value.replace("_", " ")


class Severity(StrEnum):
    CRITICAL = "critical"  # users are served wrongly, or something is being lost
    WARNING = "warning"
    INFO = "info"  # may be harmless


SEVERITY = {
    AlertKind.DATA_FAULT: Severity.CRITICAL,
    AlertKind.OBSERVATIONS_LOST: Severity.CRITICAL,
    AlertKind.ROLLBACK: Severity.CRITICAL,
    AlertKind.LOOP_GUARD: Severity.WARNING,
    AlertKind.TRAINING_FAILED: Severity.WARNING,
    AlertKind.DECAY: Severity.WARNING,
    AlertKind.ESTIMATED_DECAY: Severity.WARNING,
    AlertKind.DRIFT: Severity.INFO,
    AlertKind.STALE: Severity.WARNING,
}

_OPENED_BY = {
    "signal.data_fault": AlertKind.DATA_FAULT,
    "signal.observations_lost": AlertKind.OBSERVATIONS_LOST,
    "signal.decay": AlertKind.DECAY,
    "signal.estimated_decay": AlertKind.ESTIMATED_DECAY,
    "signal.drift": AlertKind.DRIFT,
    "signal.stale": AlertKind.STALE,
    "rollout.rolled_back": AlertKind.ROLLBACK,
    "run.failed": AlertKind.TRAINING_FAILED,
    "governor.gave_up": AlertKind.LOOP_GUARD,
}
_RESOLVED_BY = {
    "signal.fresh": AlertKind.STALE,
    "rollout.completed": AlertKind.ROLLBACK,
    "run.succeeded": AlertKind.TRAINING_FAILED,
    "model.version_created": AlertKind.LOOP_GUARD,
}
_CALMED_BY = {
    "monitor.window_closed": (
        AlertKind.DATA_FAULT,
        AlertKind.DRIFT,
        AlertKind.ESTIMATED_DECAY,
        AlertKind.OBSERVATIONS_LOST,
    ),
    "monitor.quality": (AlertKind.DECAY,),
}
"""Each such event says that a signal is over, unless the signal follows it: they are written together, it first."""

TYPES = (*_OPENED_BY, *_RESOLVED_BY, *_CALMED_BY)


@dataclass(frozen=True, slots=True)
class Alert:
    """`effect` is how far what moved, and which way; `since` what it came with: a release, a first window."""

    id: str
    project: str
    subject: str  # model/shop/fraud, environment/shop/production, data/shop/payments
    kind: AlertKind
    severity: Severity
    message: str
    opened: datetime
    latest: datetime
    effect: str = ""
    since: str = ""
    features: tuple[str, ...] = ()
    version: int = 0
    times: int = 1
    calm: int = 0  # windows since, without it
    state: str = "open"  # open | resolved
    resolved: datetime | None = None
    notice: str = "told"  # told | held: over the day's budget, for the digest | muted
    acked: str = ""  # by whom

    @property
    def name(self) -> str:
        """What it is about, without the kind of subject and the project."""
        return self.subject.rpartition("/")[2]

    def acknowledged(self, by: str) -> Alert:
        return replace(self, acked=by)


@dataclass(frozen=True, slots=True)
class Mute:
    """Alerts of a subject, of one kind or of all (""), tell nobody until then. They are on record all the same."""

    id: str  # subject:kind
    subject: str
    kind: str
    until: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What the event itself does not say, read from the records for an alert that opens."""

    effect: str = ""
    since: str = ""
    muted: bool = False
    opened_today: int = 0  # alerts of the subject that were told in the last 24 hours


def subject_of(event: Event) -> str:
    """Of a run that ended: the model that it trained; empty for other runs."""
    if not event.type.startswith("run."):
        return event.subject
    return f"model/{event.data['about']}" if event.data.get("kind") == "train" else ""


def kind_of(event: Event) -> str:
    found = _OPENED_BY.get(event.type)
    return found.value if found else ""


def moved(name: str, mean: float, reference: float, deviation: float) -> str:
    """ "amount up by 1.8 sd (mean 81 against 53)"; a feature without a deviation in training has no scale."""
    way = "up" if mean > reference else "down" if mean < reference else "changed in shape"
    far = f" by {abs(mean - reference) / deviation:.1f} sd" if deviation > 0 and mean != reference else ""
    return f"{name} {way}{far} (mean {mean:.4g} against {reference:.4g})"


def bundled(alert: Alert) -> Alert:
    """It was told of in a digest."""
    return replace(alert, notice="told")


def opens(event: Event, known: Iterable[Alert]) -> bool:
    kind = _OPENED_BY.get(event.type)
    return kind is not None and bool(subject_of(event)) and all(alert.kind is not kind for alert in known)


def heard(known: Iterable[Alert], event: Event, config: AlertsConfig, about: About) -> list[Alert]:
    """The alerts of the event's subject that it changes or opens; `known` are those that are open."""
    kind = _OPENED_BY.get(event.type)
    if kind is not None:
        open_ = next((alert for alert in known if alert.kind is kind), None)
        return [_opened(kind, event, config, about) if open_ is None else _again(open_, event)]
    ended = _RESOLVED_BY.get(event.type)
    if ended is not None:
        return [_resolved(alert, event.time) for alert in known if alert.kind is ended]
    calmed = [
        alert
        for alert in known
        if alert.kind in _CALMED_BY.get(event.type, ()) and int(event.data["version"]) >= alert.version
    ]
    return [
        _resolved(alert, event.time) if alert.calm >= config.clean else replace(alert, calm=alert.calm + 1)
        for alert in calmed
    ]


def digests(held: Iterable[Alert], now: datetime) -> dict[str, list[Alert]]:
    """What was held back, by subject, where the first of it has waited for a day."""
    found: dict[str, list[Alert]] = {}
    for alert in sorted(held, key=lambda each: each.opened):
        found.setdefault(alert.subject, []).append(alert)
    return {subject: alerts for subject, alerts in found.items() if now >= alerts[0].opened + DAY}


def _opened(kind: AlertKind, event: Event, config: AlertsConfig, about: About) -> Alert:
    severity = SEVERITY[kind]
    over = about.opened_today >= config.budget and severity is not Severity.CRITICAL
    return Alert(
        id=event.id,
        project=event.project,
        subject=subject_of(event),
        kind=kind,
        severity=severity,
        message=_message(event),
        opened=event.time,
        latest=event.time,
        effect=about.effect,
        since=about.since,
        features=tuple(event.data.get("features") or ()),
        version=int(event.data.get("version") or 0),
        notice="muted" if about.muted else "held" if over else "told",
    )


def _again(alert: Alert, event: Event) -> Alert:
    features = tuple(dict.fromkeys((*alert.features, *(event.data.get("features") or ()))))
    return replace(alert, message=_message(event), latest=event.time, times=alert.times + 1, calm=0, features=features)


def _resolved(alert: Alert, now: datetime) -> Alert:
    return replace(alert, state="resolved", resolved=now)


def _message(event: Event) -> str:
    data = event.data
    if event.type == "run.failed":
        return f"The training failed: {data.get('error') or 'no reason is on record'}"
    if event.type == "rollout.rolled_back":
        return f"Release {data.get('release')} was rolled back: {data.get('reason') or 'no reason is on record'}"
    return str(data.get("message", ""))
