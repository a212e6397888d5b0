"""What every controller of the reconciler works with: stores, clock, ids, the lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from conveyor.config.settings import Settings
from conveyor.domain.events import Event
from conveyor.effects import identity
from conveyor.errors import LeaseLost
from conveyor.stores.objects import Objects
from conveyor.stores.records import Lease, Records, Transaction

LEASE = "reconciler"
LEASE_TTL = timedelta(seconds=10)


class Now(Protocol):
    def now(self) -> datetime: ...


@dataclass(slots=True)
class Context:
    settings: Settings
    records: Records
    objects: Objects
    clock: Now
    new_id: Callable[[], str]
    owner: str
    lease: Lease | None = field(default=None)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that only the owner of the reconciler's lease can commit."""
        if self.lease is None:
            raise LeaseLost("the reconciler's lease is not held", hint="Another control plane works on this state.")
        with self.records.transaction(self.lease) as tx:
            yield tx

    def renew(self) -> bool:
        """Takes or prolongs the lease; False while another control plane holds it."""
        now = self.clock.now()
        with self.records.transaction() as tx:
            self.lease = tx.acquire(LEASE, self.owner, now, LEASE_TTL, identity.gone)
        return self.lease is not None

    def release(self) -> None:
        """Gives the lease back: the next control plane need not wait until it expires."""
        lease, self.lease = self.lease, None
        if lease is not None:
            with self.records.transaction(lease) as tx:
                tx.acquire(LEASE, self.owner, self.clock.now(), timedelta(0))

    def event(self, type_: str, subject: str, project: str = "", **data: Any) -> Event:
        return Event(self.new_id(), type_, subject, self.clock.now(), project, data)
