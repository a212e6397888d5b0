"""What the desk answers about alerts, and what people do with them."""

from __future__ import annotations

from datetime import timedelta

from conveyor.config.duration import parse_duration
from conveyor.domain import requests
from conveyor.domain.alert import Alert, AlertKind, Mute
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.collections import ALERTS, MUTES
from conveyor.stores.records import Transaction

_LONGEST = timedelta(days=90)
_MANY = 1000


class AlertDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, project: str = "", state: str = "open", limit: int = 50) -> list[Alert]:
        where = {name: value for name, value in (("project", project), ("state", state)) if value}
        with self._context.records.read() as tx:
            return tx.find(ALERTS, where=where, limit=min(limit, _MANY))

    def show(self, project: str, id_: str) -> Alert:
        with self._context.records.read() as tx:
            return _found(tx, project, id_)

    def ack(self, project: str, id_: str, request: requests.AckAlert) -> Message:
        context = self._context
        with context.records.transaction() as tx:
            known = _found(tx, project, id_)
            changed = known.acknowledged(request.by)
            tx.put(ALERTS, changed)
            about = {"alert": known.id, "kind": known.kind.value, "by": request.by}
            tx.append(context.event("alert.acked", known.subject, project, **about))
        return Message(f"it is on record that {request.by} looks at the {known.kind.label} of {known.name}")

    def mute(self, project: str, id_: str, request: requests.MuteAlerts) -> Message:
        """Notifications of this alert's subject, of its kind or of all kinds."""
        length = parse_duration(request.length)
        if length is None or not timedelta(0) < length <= _LONGEST:
            raise InputRejected(f"{request.length[:40]!r} is not how long", hint="Say 2h, 1d or 30d; at most 90d.")
        context = self._context
        with context.records.transaction() as tx:
            known = _found(tx, project, id_)
            kind = "" if request.all_kinds else known.kind.value
            until = context.clock.now() + length
            tx.put(MUTES, Mute(f"{known.subject}:{kind}", known.subject, kind, until, request.by, request.why))
            about = {"kind": kind, "until": until.isoformat(), "by": request.by, "why": request.why}
            tx.append(context.event("alert.muted", known.subject, project, **about))
        what = f"{AlertKind(kind).label} alerts" if kind else "alerts"
        return Message(f"{what} of {known.name} tell nobody until {until:%Y-%m-%d %H:%M} UTC; they stay on record")


def _found(tx: Transaction, project: str, id_: str) -> Alert:
    known = tx.get(ALERTS, id_)
    if known is None or known.project != project:
        raise NotFound(f"there is no alert {id_[:40]!r}", hint="`conveyor alerts list --all` shows their ids.")
    return known
