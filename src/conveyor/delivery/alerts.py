"""The controller of alerts: reads the event log, opens, updates and resolves alerts, tells of what was held back."""

from __future__ import annotations

from conveyor.delivery.lookup import Builds, live_model, live_release
from conveyor.domain import alert, wire
from conveyor.domain.alert import About, Alert
from conveyor.domain.events import Event
from conveyor.domain.model import ModelManifest
from conveyor.domain.project import AlertsConfig
from conveyor.domain.state import Cursor
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.stores.collections import ALERTS, CURSORS, ENVIRONMENTS, MODEL_VERSIONS, MUTES, WINDOWS
from conveyor.stores.records import Transaction

_EVERY = 1.0
_CURSOR = "alerts"
_PAGE = 200
_RECENT = 100  # of a subject's alerts: what the day's budget is counted from
_HELD = 1000


class Alerts:
    name = "alerts"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._builds = Builds(context)
        self._seen = -1

    def turn(self) -> float:
        self._digest()
        revision = self._context.records.revision
        if revision == self._seen:
            return _EVERY
        configs = {build.project: build.config.alerts for build in self._builds()}
        with self._context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR)
            events = tx.events(after=cursor.seq, types=alert.TYPES, limit=_PAGE) if cursor else []
            end = tx.events(limit=1, newest=True)
        if cursor is None:  # what happened before there were alerts is no news
            with self._context.transaction() as tx:
                tx.put(CURSORS, Cursor(_CURSOR, seq=end[0].seq if end else 0))
            return _EVERY
        if not events:
            self._seen = revision
            return _EVERY
        with self._context.transaction() as tx:
            for event in events:
                self._hear(tx, event, configs.get(event.project, AlertsConfig()))
            tx.put(CURSORS, Cursor(_CURSOR, seq=events[-1].seq))
        return _EVERY

    def _hear(self, tx: Transaction, event: Event, config: AlertsConfig) -> None:
        subject = alert.subject_of(event)
        if not subject:
            return
        known = tx.find(ALERTS, where={"subject": subject, "state": "open"})
        about = self._about(tx, event, subject) if alert.opens(event, known) else About()
        before = {each.id for each in known}
        for changed in alert.heard(known, event, config, about):
            tx.put(ALERTS, changed)
            if changed.id not in before:
                self._tell(tx, "alert.opened", changed)
            elif changed.state == "resolved":
                self._tell(tx, "alert.resolved", changed)

    def _tell(self, tx: Transaction, type_: str, about: Alert) -> None:
        data = wire.to_builtins(about)
        data["alert"] = data.pop("id")
        for name in ("project", "subject"):
            data.pop(name)
        tx.append(self._context.event(type_, about.subject, about.project, **data))

    def _about(self, tx: Transaction, event: Event, subject: str) -> About:
        now = event.time
        recent = tx.find(ALERTS, where={"subject": subject}, limit=_RECENT)
        told = sum(each.notice == "told" and now - each.opened < alert.DAY for each in recent)
        kind = event.type.rpartition(".")[2]
        mutes = [tx.get(MUTES, f"{subject}:{word}") for word in ("", alert.kind_of(event))]
        muted = any(mute is not None and now < mute.until for mute in mutes)
        effect = self._effect(tx, event) if kind == "drift" else ""
        return About(effect, self._since(tx, event), muted, told)

    def _effect(self, tx: Transaction, event: Event) -> str:
        """How far the features that drifted moved, in standard deviations of training, and which way."""
        subject = event.subject.removeprefix("model/")
        version = tx.get(MODEL_VERSIONS, f"{subject}@{event.data['version']}")
        window = tx.get(WINDOWS, f"{subject}@{event.data['version']}#{event.data['window']}")
        if version is None or window is None:
            return ""
        try:
            manifest = wire.from_json(self._context.objects.get(version.artifact["model.json"]), ModelManifest)
        except ConveyorError:  # its artifact is damaged or gone, which is told elsewhere
            return ""
        told = []
        for name in event.data.get("features") or ():
            shift, known = window.features.get(name), manifest.profile.features.get(name)
            if shift is not None and known is not None:
                told.append(alert.moved(name, shift.mean, shift.reference_mean, known.std))
        return ", ".join(told)

    def _since(self, tx: Transaction, event: Event) -> str:
        """Of a model's signal: the release that has this version live, and the window that it was seen in first."""
        kind, _, rest = event.subject.partition("/")
        if kind != "model" or "version" not in event.data:
            return ""
        project, _, name = rest.partition("/")
        release = live_release(tx, tx.get(ENVIRONMENTS, f"{project}/production"))
        live = live_model(tx, project, name)
        ours = release is not None and live is not None and live.version == event.data["version"]
        first = f", first in window {event.data['window']}" if event.data.get("window") else ""
        return f"since release {release.number}, version {live.version}{first}" if ours and release and live else ""

    def _digest(self) -> None:
        context = self._context
        with context.records.read() as tx:
            held = tx.find(ALERTS, where={"notice": "held"}, limit=_HELD, newest=False)
        due = alert.digests(held, context.clock.now())
        if not due:
            return
        with context.transaction() as tx:
            for subject, alerts in due.items():
                told = [f"{each.kind.value}: {each.message.partition('. ')[0]}" for each in alerts]
                project = alerts[0].project
                tx.append(context.event("alert.digest", subject, project, count=len(alerts), alerts=told[:50]))
                for each in alerts:
                    tx.put(ALERTS, alert.bundled(tx.need(ALERTS, each.id)))
