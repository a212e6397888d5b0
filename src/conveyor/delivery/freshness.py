"""The controller of freshness: looks whether datasets with a `fresh` get rows, and tells when they do not."""

from __future__ import annotations

from datetime import datetime

from conveyor.delivery.lookup import Builds, latest_data
from conveyor.domain import freshness
from conveyor.domain.freshness import Stale
from conveyor.domain.governor import span
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.engine.context import Context
from conveyor.stores.collections import STALE

_EVERY = 1.0


class Freshness:
    name = "freshness"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._builds = Builds(context)
        self._seen = -1  # the records' revision at the last look
        self._due: datetime | None = None  # when something gets stale though nothing is written

    def turn(self) -> float:
        revision, now = self._context.records.revision, self._context.clock.now()
        if revision == self._seen and (self._due is None or now < self._due):
            return _EVERY
        due = [self._look(build, data, now) for build in self._builds() for data in build.config.data.values()]
        self._seen, self._due = revision, min(filter(None, due), default=None)
        return _EVERY

    def _look(self, build: Build, data: DataConfig, now: datetime) -> datetime | None:
        dataset = f"{build.project}/{data.name}"
        with self._context.records.read() as tx:
            known = tx.get(STALE, dataset)
            if known is None and data.fresh is None:
                return None
            newest = latest_data(tx, build.project, data.name)
        came = newest.created if newest else build.created
        found = freshness.judge(dataset, data.fresh, came, known, now)
        if found.changed:
            self._tell(build, data, found.stale, known)
        return found.due

    def _tell(self, build: Build, data: DataConfig, stale: Stale | None, known: Stale | None) -> None:
        context, subject = self._context, f"data/{build.project}/{data.name}"
        with context.transaction() as tx:
            if stale is not None and data.fresh is not None:
                tx.put(STALE, stale)
                message = f"nothing new came for {data.name} since {stale.since:%Y-%m-%d %H:%M} UTC"
                about = {"message": message, "since": stale.since.isoformat(), "fresh": span(data.fresh)}
                tx.append(context.event("signal.stale", subject, build.project, **about))
            elif known is not None:
                tx.delete(STALE, known.id)
                since = known.since.isoformat()
                tx.append(
                    context.event("signal.fresh", subject, build.project, since=since, asked=data.fresh is not None)
                )
