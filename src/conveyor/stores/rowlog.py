"""Rows on their way into a dataset: appended to a segment and synced before anybody is told that they were taken.

    rows/<project>/<dataset>/<unixms>-<random>.<format>.open   written by this process, locked as long as it lives
    rows/<project>/<dataset>/<unixms>-<random>.<format>.rows   sealed: never written again

One thread writes: whatever came while it waited for the disk shares the next sync.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from blake3 import blake3

from conveyor.domain.rows import MOST_KEYS, NO_KEY, SUFFIX, Format, Frame, encode, frames
from conveyor.errors import Conflict, NoSpace, Overloaded
from conveyor.stores.data.local import sync_directory

_SEGMENT = 32 * 2**20  # bytes after which a segment is sealed
_RESERVE = 64 * 2**20  # bytes that are always left free on the disk
_AT_ONCE = 1000  # requests in one sync
OPEN = ".open"


@dataclass(slots=True)
class _Open:
    path: Path
    descriptor: int
    size: int
    since: float


@dataclass(frozen=True, slots=True)
class _Request:
    dataset: str  # project/dataset
    format: Format
    frame: Frame
    answer: Future[bool]


def digest(data: bytes) -> bytes:
    return blake3(data).digest(16)


class RowLog:
    """Append, seal, list, delete. At most `limit` bytes are kept: more are refused until there is room."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._queue: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of what follows
        self._open: dict[tuple[str, Format], _Open] = {}
        self._keys: dict[str, dict[bytes, bytes]] = {}
        self._bytes = 0
        self._counting = threading.Lock()  # of the bytes; never held while the disk is waited for
        self._thread: threading.Thread | None = None
        self._recover()

    @property
    def size(self) -> int:
        """On disk or on their way to it."""
        return self._bytes

    def append(
        self, dataset: str, format_: Format, key: str, payload: bytes, said: bytes | None = None
    ) -> Future[bool]:
        """Done once the payload is durable: True, or False when this key had brought it before,
        or what the client `said` that it was made of.

        Raises Overloaded when the log is full. The future fails with Conflict when the key came with other rows
        before, and with NoSpace when they could not be written.
        """
        frame = Frame(payload, digest(key.encode()) if key else NO_KEY, digest(payload if said is None else said))
        request = _Request(dataset, format_, frame, Future())
        with self._counting:
            if self._bytes + len(payload) > self._limit:
                raise Overloaded(
                    f"{self._bytes:,} bytes of rows wait to become part of a version; {self._limit:,} may",
                    hint="Send this request again in a moment, with the same Idempotency-Key.",
                )
            self._bytes += len(payload)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
                self._thread.start()
        self._queue.put(request)
        return request.answer

    def remember(self, dataset: str, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Keys of rows that have left the log, oldest first."""
        with self._lock:
            known = self._keys.setdefault(dataset, {})
            self._keys[dataset] = dict([*keys, *known.items()][-MOST_KEYS:])

    def forget(self, dataset: str, keys: Iterable[bytes]) -> None:
        with self._lock:
            for key in keys:
                self._keys.get(dataset, {}).pop(key, None)

    def seal(self, dataset: str, *, older: float) -> None:
        """Ends the open segments of a dataset that were begun so many seconds ago."""
        with self._lock:
            for place, segment in list(self._open.items()):
                if place[0] == dataset and time.monotonic() - segment.since >= older:
                    self._close(place)

    def sealed(self, dataset: str) -> list[Path]:
        """Oldest first; also what a process has left that died since this one began."""
        with contextlib.suppress(FileNotFoundError):
            with self._lock:
                ours = {segment.path for segment in self._open.values()}
                for path in [path for path in (self._folder / dataset).iterdir() if path.suffix == OPEN]:
                    if path not in ours and (taken := _take_over(path)):
                        self._add(taken)
            return sorted(path for path in (self._folder / dataset).iterdir() if path.suffix == SUFFIX)
        return []

    def keys(self, segment: Path) -> list[tuple[bytes, bytes]]:
        return [(f.key, f.body) for f, _ in frames(segment.read_bytes()) if f.key != NO_KEY]

    def delete(self, segment: Path) -> None:
        """What is kept elsewhere by now. Deleting twice is no error."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            size = segment.stat().st_size
            segment.unlink()
            self._count(-size)

    def _count(self, more: int) -> None:
        with self._counting:
            self._bytes += more

    # --- the writer

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _AT_ONCE:
                    batch.append(self._queue.get_nowait())
            self._write(batch)

    def _write(self, batch: list[_Request]) -> None:
        places: dict[tuple[str, Format], list[_Request]] = {}
        for request in batch:
            places.setdefault((request.dataset, request.format), []).append(request)
        for place, requests in places.items():
            with self._lock:
                answers = list(self._group(place, requests))
            for request, answer in answers:
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)

    def _group(
        self, place: tuple[str, Format], requests: list[_Request]
    ) -> Iterator[tuple[_Request, bool | Exception]]:
        """What becomes of requests of one segment, which share a sync."""
        keys = self._keys.setdefault(place[0], {})
        fresh: list[_Request] = []
        coming: dict[bytes, bytes] = {}
        repeated: list[_Request] = []
        for request in requests:
            frame = request.frame
            before = keys.get(frame.key, coming.get(frame.key)) if frame.key != NO_KEY else None
            if before is None:
                fresh.append(request)
                coming.update({frame.key: frame.body} if frame.key != NO_KEY else {})
                continue
            self._count(-len(frame.payload))
            if before == frame.body:
                repeated.append(request)
            else:
                yield (
                    request,
                    Conflict(
                        "this Idempotency-Key came with other rows before",
                        hint="Give each request's rows a key of their own.",
                    ),
                )
        problem = self._append(place, fresh) if fresh else None
        if problem is None:
            keys.update(coming)
            for key in list(islice(keys, max(0, len(keys) - MOST_KEYS))):
                del keys[key]
        for request in fresh:
            yield request, problem or True
        for request in repeated:
            # Of one that was written just now, the answer is no better than what became of that.
            yield request, problem if problem is not None and request.frame.key in coming else False

    def _append(self, place: tuple[str, Format], requests: list[_Request]) -> Exception | None:
        raw = b"".join(encode(request.frame) for request in requests)
        payload = sum(len(request.frame.payload) for request in requests)
        try:
            if shutil.disk_usage(self._folder).free < len(raw) + _RESERVE:
                raise OSError("the disk is full")
            segment = self._open.get(place) or self._begin(place)
            try:
                _write_all(segment.descriptor, raw)
                os.fsync(segment.descriptor)
            except OSError:
                # What came of it cannot be known: the segment ends at the last frame that was durable, here and now.
                with contextlib.suppress(OSError):
                    os.ftruncate(segment.descriptor, segment.size)
                self._close(place)
                raise
        except OSError as error:
            self._count(-payload)
            return NoSpace(
                f"rows could not be stored: {error.strerror or error}",
                hint="Free some space and send the request again; what was answered 202 is safe.",
            )
        segment.size += len(raw)
        self._count(len(raw) - payload)
        if segment.size >= _SEGMENT:
            self._close(place)
        return None

    def _begin(self, place: tuple[str, Format]) -> _Open:
        folder = self._folder / place[0]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.time_ns() // 1_000_000:013d}-{os.urandom(4).hex()}.{place[1]}{OPEN}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for each in (folder, *folder.relative_to(self._folder).parents):
            sync_directory(self._folder / each)
        self._open[place] = made = _Open(path, descriptor, 0, time.monotonic())
        return made

    def _close(self, place: tuple[str, Format]) -> None:
        segment = self._open.pop(place)
        with contextlib.suppress(OSError):
            if segment.size:
                segment.path.rename(segment.path.with_suffix(SUFFIX))
            else:
                segment.path.unlink()
        os.close(segment.descriptor)

    def _recover(self) -> None:
        """Takes over what a dead process left: whole frames stay, a torn last one was never answered for."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.rglob(f"*{OPEN}"):
            _take_over(path)
        for path in sorted(self._folder.rglob(f"*{SUFFIX}")):
            self._add(path)

    def _add(self, sealed: Path) -> None:
        self._count(sealed.stat().st_size)
        self._keys.setdefault(str(sealed.parent.relative_to(self._folder)), {}).update(self.keys(sealed))


def _take_over(path: Path) -> Path | None:
    """Seals the segment of a dead process; None while a process lives that has it, or where nothing of it is whole."""
    with contextlib.suppress(BlockingIOError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end = max((end for _, end in frames(file.read())), default=0)
        file.truncate(end)
        os.fsync(file.fileno())
        if end:
            return path.rename(path.with_suffix(SUFFIX))
        path.unlink()
    return None


def _write_all(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]
