"""The controller of notifications: from alerts to notices on record, and from there to receivers, at least once each.

Each receiver has its own queue and one notice on its way, in a thread: one that is dead holds up no other.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from conveyor.delivery.lookup import Builds
from conveyor.delivery.notifying import prepared
from conveyor.domain import notify
from conveyor.domain.notify import Notice
from conveyor.domain.project import NotifyConfig
from conveyor.domain.state import Cursor
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError, InputRejected
from conveyor.stores.collections import CURSORS, NOTICES
from conveyor.stores.records import Transaction

_EVERY = 0.5
_CURSOR = "notifier"
_PAGE = 100
_THREADS = 32


@dataclass(frozen=True, slots=True)
class _Flight:
    notice: Notice
    sent: Future[None]


class Notifier:
    name = "notifier"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._builds = Builds(context)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="notify")
        self._flying: dict[str, _Flight] = {}
        self._seen = -1

    def turn(self) -> float:
        channels = {
            f"{build.project}/{config.name}": config
            for build in self._builds()
            for config in build.config.notify.values()
        }
        self._queue(channels)
        for channel, flight in list(self._flying.items()):
            if flight.sent.done():
                del self._flying[channel]
                self._settle(flight.notice, flight.sent.exception())
        for channel, config in channels.items():
            if channel not in self._flying:
                self._start(channel, config)
        return _EVERY

    def _queue(self, channels: dict[str, NotifyConfig]) -> None:
        """Alerts since the last look become notices, in one transaction with how far it looked."""
        context = self._context
        revision = context.records.revision
        if revision == self._seen:
            return
        with context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR)
            events = tx.events(after=cursor.seq, types=notify.TYPES, limit=_PAGE) if cursor else []
            end = tx.events(limit=1, newest=True)
        if not events and cursor is not None:
            self._seen = revision
            return
        with context.transaction() as tx:
            for event in events:
                for channel, config in channels.items():
                    if channel == f"{event.project}/{config.name}" and notify.wants(config, event):
                        self._put(tx, notify.notice(config, event, context.clock.now()))
            last = events[-1].seq if events else end[0].seq if end else 0
            tx.put(CURSORS, Cursor(_CURSOR, seq=last))

    def _put(self, tx: Transaction, known: Notice) -> None:
        where = {"channel": known.channel}
        if tx.count(NOTICES, where=where) >= notify.WAITING:
            oldest = tx.find(NOTICES, where=where, limit=1, newest=False)[0]
            self._give_up(tx, oldest, f"{notify.WAITING:,} notices wait for it already")
        tx.put(NOTICES, known)

    def _start(self, channel: str, config: NotifyConfig) -> None:
        with self._context.records.read() as tx:
            found = tx.find(NOTICES, where={"channel": channel}, limit=1, newest=False)
            if not found or found[0].due > self._context.clock.now():
                return
            try:
                send = prepared(self._context, tx, config, found[0])
            except ConveyorError as error:
                failed: ConveyorError | None = error
            else:
                failed = None
        if failed is not None:
            self._settle(found[0], failed)
        else:
            self._flying[channel] = _Flight(found[0], self._pool.submit(send))

    def _settle(self, known: Notice, error: BaseException | None) -> None:
        with self._context.transaction() as tx:
            if tx.get(NOTICES, known.id) is None:  # given up meanwhile
                return
            if error is None:
                tx.delete(NOTICES, known.id)
                return
            said = error.message if isinstance(error, ConveyorError) else type(error).__name__
            again = None if isinstance(error, InputRejected) else notify.retried(known, self._context.clock.now())
            if again is None:
                self._give_up(tx, known, said)
                return
            tx.put(NOTICES, again)
            if not known.attempts:
                self._tell(tx, known, said, again=True)

    def _give_up(self, tx: Transaction, known: Notice, said: str) -> None:
        tx.delete(NOTICES, known.id)
        self._tell(tx, known, said, again=False)

    def _tell(self, tx: Transaction, known: Notice, said: str, *, again: bool) -> None:
        about = {"error": said, "again": again, "notice": known.message_id, "title": known.title}
        tx.append(self._context.event("notify.failed", f"notify/{known.channel}", known.project, **about))
