"""Watched places: what appears in them is copied into the store, and accepted once it has stood still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from conveyor.domain.landing import Sight, Watched, due, judge
from conveyor.domain.project import DataConfig
from conveyor.domain.release import Build
from conveyor.domain.state import Arrival
from conveyor.effects import folders
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError, CorruptObject
from conveyor.stores.collections import WATCHED
from conveyor.stores.records import Transaction

_EVERY, _FULL = timedelta(seconds=0.4), timedelta(seconds=30)
_SHARE, _FULL_SHARE = 0.02, 0.005  # of a processor that looks may take
_JUDGED = 256  # pending files that are looked at in one turn
_AT_ONCE = 64  # copies under way, and files accepted in one transaction
_AGAIN = timedelta(seconds=5)  # after a copy that failed
_LATE = timedelta(minutes=1)  # a file that waits for longer is told of

Accept = Callable[[Context, Transaction, str, str, str, str], Arrival | None]


@dataclass(slots=True)
class _Pending:
    entry: folders.Entry
    stamp: str
    since: datetime  # it has this stamp
    first: datetime
    told: bool = False
    copy: Future[str | None] | None = None


@dataclass(slots=True)
class _Place:
    """The watched patterns of one dataset."""

    project: str
    data: DataConfig
    patterns: list[folders.Pattern]
    known: dict[str, str]  # name -> stamp, as in the records
    pending: dict[str, _Pending] = field(default_factory=dict)
    looked: datetime | None = None
    full: datetime | None = None
    cost: timedelta = timedelta(0)
    full_cost: timedelta = timedelta(0)

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.data.name}"


class Watching:
    """Each name is dealt with once for each state that it is in; that is on record, so a restart looks at nothing anew.

    Copies are made in a thread of their own: a large file does not hold up the reconciler.
    """

    def __init__(self, context: Context, accept: Accept) -> None:
        self._context = context
        self._accept = accept
        self._places: dict[str, _Place] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="watch")

    def turn(self, builds: Iterable[Build]) -> None:
        problem: ConveyorError | None = None
        for place in self._configured(builds):
            now = self._context.clock.now()
            skipped, gone = self._look(place, now)
            self._judge(place, now)
            try:
                self._settle(place, skipped, gone, now)
            except ConveyorError as error:  # of one copy: the other places go on
                problem = error
        if problem is not None:
            raise problem

    @property
    def busy(self) -> bool:
        """Whether copies are under way."""
        return any(each.copy for place in self._places.values() for each in islice(place.pending.values(), _JUDGED))

    def _configured(self, builds: Iterable[Build]) -> Iterator[_Place]:
        places = {}
        for build in builds:
            for data in build.config.data.values():
                patterns = tuple(pattern for pattern in data.watch if "://" not in pattern)
                if not patterns:
                    continue
                key = f"{build.project}/{data.name}: {patterns}"
                places[key] = self._places.get(key) or self._place(build.project, data, patterns)
                yield places[key]
        self._places = places

    def _place(self, project: str, data: DataConfig, patterns: tuple[str, ...]) -> _Place:
        with self._context.records.read() as tx:
            found = tx.find(WATCHED, where={"dataset": f"{project}/{data.name}"}, limit=10_000_000)
        known = {each.name: each.stamp for each in found if "://" not in each.name}
        root = self._context.settings.root
        return _Place(project, data, [folders.Pattern(root, pattern) for pattern in patterns], known)

    def _look(self, place: _Place, now: datetime) -> tuple[list[folders.Entry], list[str]]:
        """What cannot be taken, and names that are there no more; what may be taken is pending from here on."""
        full = due(now, place.full, place.full_cost, _FULL, _FULL_SHARE)
        if not full and not due(now, place.looked, place.cost, _EVERY, _SHARE):
            return [], []
        begun = time.perf_counter()
        looks = [pattern.look(place.known, full=full) for pattern in place.patterns]
        took = timedelta(seconds=time.perf_counter() - begun)
        place.looked = now
        if full:
            place.full, place.full_cost = now, took
        else:
            place.cost = took
        changed = {entry.name: entry for look in looks for entry in look.changed}
        for name, entry in sorted(changed.items()):  # days arrive in the order of their names
            if not entry.problem and name not in place.pending:
                place.pending[name] = _Pending(entry, entry.stamp, now, now)
        names = set[str]().union(*(look.names for look in looks))
        gone = [name for name in place.known if name not in names] if full else []
        return [entry for entry in changed.values() if entry.problem], gone

    def _judge(self, place: _Place, now: datetime) -> None:
        """Starts copies of what has stood still."""
        under_way = sum(each.copy is not None for each in place.pending.values())
        for name in list(islice(place.pending, _JUDGED)):
            if under_way >= _AT_ONCE:
                return
            each = place.pending.pop(name)
            waits = each.copy is None
            if waits and not self._stands(place, each, now):
                continue  # gone, renamed, or as it was
            place.pending[name] = each  # behind those that were not looked at this time
            under_way += waits and each.copy is not None

    def _stands(self, place: _Place, each: _Pending, now: datetime) -> bool:
        """Whether the file is still there to be taken; starts its copy once it may be."""
        stamp = folders.stamp(each.entry)
        if stamp is None or stamp == place.known.get(each.entry.name):
            return False
        if stamp != each.stamp:
            each.stamp, each.since = stamp, now
        try:
            sight = Sight(folders.whole(each.entry.real, each.entry.file), folders.held(each.entry.real))
        except OSError:
            return True  # it is looked at again
        verdict = judge(sight, now - each.since)
        if verdict.take:
            each.copy = self._pool.submit(self._copy, each.entry, stamp)
        elif not each.told and now - each.first >= _LATE:
            self._tell(place, each, verdict.why)
        return True

    def _copy(self, entry: folders.Entry, stamp: str) -> str | None:
        """The digest of the file's bytes, now an object; None when it changed meanwhile."""
        objects = self._context.objects
        try:
            digest = objects.put_file(Path(entry.real))
        except FileNotFoundError:
            return None
        if folders.stamp(entry) == stamp:
            return digest
        try:
            objects.path(digest)  # it may have changed between being hashed and being copied
        except CorruptObject:
            objects.delete(digest)
        return None

    def _settle(self, place: _Place, skipped: list[folders.Entry], gone: list[str], now: datetime) -> None:
        """In one transaction: what was copied has arrived, what cannot be taken is told, what is gone is forgotten."""
        ended = [each for _, each in sorted(place.pending.items()) if each.copy is not None and each.copy.done()][
            :_AT_ONCE
        ]
        copied: list[tuple[_Pending, str]] = []
        problem: BaseException | None = None
        for each in ended:
            assert each.copy is not None
            error, each_copy = each.copy.exception(), each.copy
            if error is not None:
                problem, each.copy, each.since = error, None, now + _AGAIN
            elif digest := each_copy.result():
                copied.append((each, digest))
            else:
                each.copy, each.since = None, now
        if copied or skipped or gone:
            self._record(place, copied, skipped, gone)
        if problem is not None:
            raise problem

    def _record(
        self, place: _Place, copied: list[tuple[_Pending, str]], skipped: list[folders.Entry], gone: list[str]
    ) -> None:
        context, dataset, project = self._context, place.dataset, place.project
        with context.transaction() as tx:
            for each, digest in copied:
                self._accept(context, tx, project, place.data.name, each.entry.file, digest)
                tx.put(WATCHED, Watched(f"{dataset}/{each.entry.name}", dataset, each.stamp))
            for entry in skipped:
                tx.put(WATCHED, Watched(f"{dataset}/{entry.name}", dataset, entry.stamp, entry.problem))
                event = context.event("data.skipped", f"data/{dataset}", project, file=entry.name, reason=entry.problem)
                tx.append(event)
            for name in gone:
                tx.delete(WATCHED, f"{dataset}/{name}")
        place.known.update({each.entry.name: each.stamp for each, _ in copied})
        place.known.update({entry.name: entry.stamp for entry in skipped})
        for each, _ in copied:
            place.pending.pop(each.entry.name, None)
        for name in gone:
            place.known.pop(name, None)

    def _tell(self, place: _Place, each: _Pending, why: str) -> None:
        each.told = True
        with self._context.transaction() as tx:
            subject = f"data/{place.dataset}"
            tx.append(self._context.event("data.held", subject, place.project, file=each.entry.name, reason=why))
