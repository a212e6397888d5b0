"""Receipts of rollouts, kept while they go on. The controller of rollouts calls `look` each turn, `record` in the
transaction of each change: what a phase saw is durable with the phase."""

from __future__ import annotations

from collections.abc import Iterable

from conveyor.delivery.targets import Target
from conveyor.domain import receipt as receipts
from conveyor.domain.proxy import ProxyStats
from conveyor.domain.receipt import PhaseLine, Reading, Receipt, VersionLine
from conveyor.domain.rollout import CLOSED, Phase, Rollout
from conveyor.engine.context import Context
from conveyor.stores.collections import RECEIPTS
from conveyor.stores.records import Transaction


class Receipts:
    """`_latest` is the newest reading of each open rollout, so that a restart of the proxy loses at most what came
    since the last look."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: dict[str, Receipt] = {}
        self._latest: dict[str, Reading] = {}

    def look(
        self, rollout: Rollout, old: dict[str, Target], new: dict[str, Target], proxy: ProxyStats, *, applied: bool
    ) -> None:
        """One turn of an open rollout. `applied`: the proxy has the routes that the phase asks for."""
        now = receipts.read(proxy, self._context.clock.now())
        known = self._known(rollout.id)
        found = known or receipts.begin(rollout.id, rollout.previous, versions(old, new), now)
        if not found.phases:
            found = receipts.enter(found, PhaseLine(rollout.phase, 0, rollout.entered))
        latest = self._latest.get(rollout.id)
        if latest is not None and now.restarted_since(latest):
            into = receipts.span(rollout.phase)
            found = receipts.advance(receipts.advance(found, latest, into), now, into)
        if applied:
            found = receipts.switched(found, proxy.routes_loaded)
        if known is None or found.reading is not known.reading:
            with self._context.transaction() as tx:
                tx.put(RECEIPTS, found)
        self._open[rollout.id], self._latest[rollout.id] = found, now

    def record(self, tx: Transaction, before: Rollout, rollout: Rollout, percent: int) -> None:
        """A change of the rollout, with what was seen at the last look before it."""
        found = self._known(rollout.id)
        now = self._latest.get(rollout.id)
        if found is None or now is None:
            return
        found = receipts.advance(found, now, receipts.span(before.phase))
        if rollout.phase in CLOSED:
            result = "live" if rollout.phase is Phase.DONE else "rolled back"
            found = receipts.close(found, result, rollout.abort, rollout.entered)
            self._open.pop(rollout.id, None)
            self._latest.pop(rollout.id, None)
            self._tell(tx, found)
        else:
            verdict = rollout.verdict if rollout.verdict != before.verdict else ""
            phase = PhaseLine(rollout.phase, percent, rollout.entered, note=rollout.note, verdict=verdict)
            found = receipts.enter(found, phase)
            self._open[rollout.id] = found
        tx.put(RECEIPTS, found)

    def _known(self, id_: str) -> Receipt | None:
        """The receipt as this process has it; after a start, as the last phase left it."""
        if id_ not in self._open:
            with self._context.records.read() as tx:
                found = tx.get(RECEIPTS, id_)
            if found is None or found.reading is None:
                return None
            self._open[id_], self._latest[id_] = found, found.reading
        return self._open[id_]

    def _tell(self, tx: Transaction, receipt: Receipt) -> None:
        outcomes = receipt.outcomes
        tx.append(
            self._context.event(
                "rollout.receipt",
                f"environment/{receipt.environment}",
                receipt.environment.partition("/")[0],
                release=receipt.release,
                requests=outcomes.ended,
                failed=receipt.failed,
                cut=receipt.cut,
                switch_ms=receipt.switch_ms,
            )
        )


def versions(old: dict[str, Target], new: dict[str, Target]) -> Iterable[VersionLine]:
    """All that the two releases route traffic to; a worker has none."""
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None and before.cluster == after.cluster:
            sides = [("both", after)]
        else:
            sides = [(side, target) for side, target in (("old", before), ("new", after)) if target is not None]
        for side, target in sides:
            if target.prefix:
                yield VersionLine(name, target.version, target.cluster, side)
