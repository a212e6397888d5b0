"""What the desk answers about receivers of notifications, and a test of one."""

from __future__ import annotations

from conveyor.delivery.lookup import latest_build
from conveyor.delivery.notifying import prepared
from conveyor.domain.notify import Notice
from conveyor.domain.project import NotifyConfig
from conveyor.domain.views import Message, ReceiverView
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import NOTICES
from conveyor.stores.records import Transaction


class NotifyDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, project: str) -> list[ReceiverView]:
        with self._context.records.read() as tx:
            return [_view(tx, project, config) for config in _receivers(tx, project).values()]

    def test(self, project: str, name: str) -> Message:
        """Sends a notice now, past the queue. Raises what went wrong."""
        context = self._context
        event = context.event("alert.opened", f"notify/{project}/{name}", project, test=True)
        text = "This is a test: no alert was opened."
        title, now = f"{project}: a test of {name}", context.clock.now()
        with context.records.read() as tx:
            config = _receivers(tx, project).get(name)
            if config is None:
                raise NotFound(
                    f"there is no [notify.{name[:40]}] in the project's conveyor.toml", hint="`conveyor notify list`."
                )
            channel = f"{project}/{name}"
            test = Notice(f"{channel}/{event.id}", channel, project, event.cloud_event(), title, text, now, now)
            send = prepared(context, tx, config, test)
        send()
        return Message(f"{name} took a test notice, {event.id}")


def _receivers(tx: Transaction, project: str) -> dict[str, NotifyConfig]:
    build = latest_build(tx, project)
    return build.config.notify if build else {}


def _view(tx: Transaction, project: str, config: NotifyConfig) -> ReceiverView:
    where = {"channel": f"{project}/{config.name}"}
    head = tx.find(NOTICES, where=where, limit=1, newest=False)
    attempts = head[0].attempts if head else 0
    return ReceiverView(config.name, config.kind, config.on, tx.count(NOTICES, where=where), attempts)
