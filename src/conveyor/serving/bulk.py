"""Large requests: worked in a few threads, a bounded number waiting, none for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from conveyor.errors import Overloaded, Unavailable

THREADS = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes on."""

    waiting: int = 32  # large requests, besides those in the threads
    waiting_bytes: int = 128 * 1024 * 1024  # of their bodies, those in the threads included
    seconds: float = 30.0  # for a request to arrive, and for a large one to be answered


class Bulk:
    """`run` on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batch")
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """`size`: bytes that the work holds on to. Raises Overloaded (too much waits) and Unavailable (too slow)."""
        with self._lock:
            full = self._requests >= THREADS + self._limits.waiting
            if full or (self._requests and self._bytes + size > self._limits.waiting_bytes):
                raise Overloaded(
                    f"{self._requests} large requests of {self._bytes} bytes are waiting already",
                    hint=f"send it again in {Overloaded.retry_after} s or later",
                )
            self._requests += 1
            self._bytes += size
        job = self._threads.submit(work)
        job.add_done_callback(lambda _: self._release(size))
        return await self._awaited(job)

    async def _awaited(self, job: Future[T]) -> T:
        seconds = self._limits.seconds
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except TimeoutError:
            pass
        if job.cancelled():
            raise Overloaded(
                f"the request waited {seconds:g} s for others", hint="send it again later, or fewer rows at a time"
            )
        raise too_slow(seconds)

    def _release(self, size: int) -> None:
        with self._lock:
            self._requests -= 1
            self._bytes -= size


def too_slow(seconds: float) -> Unavailable:
    return Unavailable(f"scoring took longer than {seconds:g} s", hint="send fewer rows at a time")
