"""Watched buckets: each object once for each version of it, listed by threads that hold nothing up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from conveyor.delivery.lookup import Builds
from conveyor.delivery.secrets import revealed
from conveyor.delivery.watching import Accept
from conveyor.domain.landing import Watched, due, told
from conveyor.domain.release import Build
from conveyor.effects.bucket import PREFIXES, Bucket, Found
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.stores.collections import WATCHED

_EVERY, _FULL = timedelta(seconds=5), timedelta(minutes=1)
_SHARE = 0.02  # of the time that full lists may take
_AT_ONCE = 32
_TURN, _IDLE = 0.5, 2.0  # seconds between turns
_AGAIN = timedelta(seconds=15)  # after a request that failed


@dataclass(slots=True)
class _Place:
    project: str
    name: str  # of the dataset
    url: str
    bucket: Bucket
    known: dict[str, str]  # key -> stamp, as in the records
    last: str = ""  # the greatest key known
    listing: Future[tuple[list[Found], timedelta]] | None = None
    full: bool = True
    listed: datetime | None = None
    until: datetime | None = None  # after a failure: not before then
    listed_full: datetime | None = None
    cost: timedelta = timedelta(0)
    todo: dict[str, Found] = field(default_factory=dict)
    copies: dict[str, tuple[Found, Future[str | None]]] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.name}"

    def id(self, key: str) -> str:
        return f"{self.dataset}/{self.bucket.url}/{told(key.encode())}"


class Buckets:
    """The controller of watched buckets.

    A look asks only for keys beyond the greatest known one: one request, and one for each thousand new objects.

    Keys that come later but sort before it, and objects that were replaced, are found by a list of all, once a minute
    or seldomer: one request for each thousand objects.
    """

    name = "buckets"

    def __init__(self, context: Context, accept: Accept) -> None:
        self._context = context
        self._builds = Builds(context)
        self._accept = accept
        self._places: dict[str, _Place] = {}
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="bucket")

    def turn(self) -> float:
        problem: ConveyorError | None = None
        for place in self._configured(self._builds()):
            now = self._context.clock.now()
            if place.until is not None and now < place.until:
                continue
            for work in (self._list, self._copy, self._settle):
                try:
                    work(place, now)
                except ConveyorError as error:
                    place.until, problem = now + _AGAIN, error
                    place.bucket = self._bucket(place.project, place.url)  # its secrets may have changed
        if problem is not None:
            raise problem
        return _TURN if self._places else _IDLE

    def _configured(self, builds: Iterable[Build]) -> Iterator[_Place]:
        places = {}
        for build in builds:
            for data in build.config.data.values():
                for url in (pattern for pattern in data.watch if "://" in pattern):
                    key = f"{build.project}/{data.name}: {url}"
                    places[key] = self._places.get(key) or self._place(build.project, data.name, url)
                    yield places[key]
        self._places = places

    def _place(self, project: str, dataset: str, url: str) -> _Place:
        bucket = self._bucket(project, url)
        with self._context.records.read() as tx:
            found = tx.find(WATCHED, where={"dataset": f"{project}/{dataset}"}, limit=10_000_000)
        start = f"{bucket.url}/"
        known = {each.name.removeprefix(start): each.stamp for each in found if each.name.startswith(start)}
        return _Place(project, dataset, url, bucket, known, max(known, default=""))

    def _bucket(self, project: str, url: str) -> Bucket:
        with self._context.records.read() as tx:
            return Bucket(url, revealed(self._context, tx, project, "production", PREFIXES))

    def _list(self, place: _Place, now: datetime) -> None:
        if place.listing is None:
            full = due(now, place.listed_full, place.cost, _FULL, _SHARE)
            if due(now, place.listed, timedelta(0), _EVERY, 1) and len(place.todo) < _AT_ONCE:
                place.full = full
                place.listing = self._pool.submit(_timed_list, place.bucket, "" if full else place.last)
            return
        if not place.listing.done():
            return
        listing, place.listing, place.listed = place.listing, None, now
        found, cost = listing.result()
        for each in found:
            key = told(each.key.encode())
            if place.known.get(key) != each.stamp and each.key not in place.copies:
                place.todo[each.key] = each
        place.last = max([place.last, *(each.key for each in found)])
        if place.full:
            place.listed_full, place.cost = now, cost
            self._forget(place, {told(each.key.encode()) for each in found})

    def _copy(self, place: _Place, now: datetime) -> None:
        while place.todo and len(place.copies) < _AT_ONCE:
            key = next(iter(place.todo))
            found = place.todo.pop(key)
            place.copies[key] = (found, self._pool.submit(self._fetch, place.bucket, found))

    def _fetch(self, bucket: Bucket, found: Found) -> str | None:
        path = self._context.settings.incoming / f".upload-bucket-{secrets.token_hex(8)}"
        try:
            return self._context.objects.put_file(path) if bucket.fetch(found, path) else None
        finally:
            path.unlink(missing_ok=True)

    def _settle(self, place: _Place, now: datetime) -> None:
        context, problem = self._context, None
        ended = [(key, found, copy) for key, (found, copy) in place.copies.items() if copy.done()]
        taken: list[tuple[Found, str]] = []
        for key, found, copy in ended:
            if error := copy.exception():
                problem, place.todo[key] = error, found
            elif digest := copy.result():
                taken.append((found, digest))
            del place.copies[key]
        if taken:
            try:
                with context.transaction() as tx:
                    for found, digest in taken:
                        self._accept(context, tx, place.project, place.name, told(found.file.encode()), digest)
                        tx.put(WATCHED, Watched(place.id(found.key), place.dataset, found.stamp))
            except ConveyorError:
                place.todo.update({found.key: found for found, _ in taken})
                raise
            place.known.update({told(found.key.encode()): found.stamp for found, _ in taken})
        if problem is not None:
            raise problem

    def _forget(self, place: _Place, there: set[str]) -> None:
        """What is gone from the bucket costs nothing more."""
        gone = [key for key in place.known if key not in there]
        if gone:
            with self._context.transaction() as tx:
                for key in gone:
                    tx.delete(WATCHED, f"{place.dataset}/{place.bucket.url}/{key}")
            for key in gone:
                del place.known[key]


def _timed_list(bucket: Bucket, after: str) -> tuple[list[Found], timedelta]:
    begun = time.perf_counter()
    return bucket.list(after), timedelta(seconds=time.perf_counter() - begun)
