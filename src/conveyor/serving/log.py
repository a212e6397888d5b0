"""The observation log's writing side: a bounded buffer, drained by one thread with group commit.

Two modes. `batched`: an answer does not wait; its observation is on disk within 50 ms, longer only while the disk takes
longer, and a crash loses no more than that. `sync`: whoever appends is told once the observation is on disk, and
answers then. Serving never stops for the disk: when the buffer is full or the disk refuses, observations are counted as
lost. A segment is written as `<unixms>-<pid>-<n>.open`, under a lock that dies with this process, and renamed to
`.seg` when closed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from conveyor.domain.observation import Prediction, encode
from conveyor.serving.cells import Row
from conveyor.serving.metrics import BUFFERED, LONGEST, LOST, WRITTEN
from conveyor.serving.segment import Segment

GATHER_SECONDS = 0.02
"""How long the first of a group waits for others before they are written and synced. What arrives while the disk
syncs waits for that too, and then for its own: within WINDOW_SECONDS as long as a sync takes 15 ms or less."""
WINDOW_SECONDS = 0.05
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENT_SECONDS = 1.0
BUFFER_BYTES = 64 * 1024 * 1024

T = TypeVar("T")
Settled = Callable[[list[T], bool], None]


class ObservationWriter(Generic[T]):
    """`append` from any thread; `start` once; `close` writes what is buffered and ends the thread.

    With `settled` it is in sync mode: that is called, on the log's thread, with the tickets of a group and whether the
    group is on disk. `figures` are the process's cells: rows on disk and lost, bytes that wait, the longest wait.
    """

    def __init__(
        self,
        directory: Path,
        *,
        figures: Row,
        settled: Settled[T] | None = None,
        clock: Callable[[], float] = time.time,
        limit: int = BUFFER_BYTES,
    ) -> None:
        self._directory = directory
        self._figures = figures
        self._figures[BUFFERED] = 0
        self._settled = settled
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._frames: list[bytes] = []
        self._frame_rows: list[int] = []
        self._tickets: list[T] = []
        self._since = 0.0  # when the first of those came
        self._bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="observations", daemon=True)
        self._segment: Segment | None = None
        self._number = 0
        self.error = ""  # the disk's refusal, while it lasts

    @property
    def sync(self) -> bool:
        return self._settled is not None

    def start(self) -> None:
        self._thread.start()

    def append(self, prediction: Prediction, ticket: T | None = None) -> bool:
        """False: there is no room, and the rows are counted as lost. The ticket is settled only after True."""
        frame = encode(prediction)
        with self._lock:
            if self._bytes + len(frame) > self._limit:
                self._figures[LOST] += prediction.rows
                return False
            if not self._frames:
                self._since = time.monotonic()
            self._frames.append(frame)
            self._frame_rows.append(prediction.rows)
            self._bytes += len(frame)
            self._figures[BUFFERED] = self._bytes
            if ticket is not None:
                self._tickets.append(ticket)
        if not self._wake.is_set():
            self._wake.set()
        return True

    def close(self, timeout: float = 10.0) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(None if self._segment is None else max(0.0, self._segment.until - time.monotonic()))
            if self._wake.is_set():
                if self._settled is None:
                    self._stopping.wait(max(0.0, self._since + GATHER_SECONDS - time.monotonic()))
                self._wake.clear()
            self._turn()
        self._turn()
        self._retire()

    def _turn(self) -> None:
        with self._lock:
            frames, rows, tickets = self._frames, sum(self._frame_rows), self._tickets
            self._frames, self._frame_rows, self._tickets, self._bytes = [], [], [], 0
            self._figures[BUFFERED] = 0
            since = self._since
        if frames:
            kept = self._keep(b"".join(frames), rows, since)
            if self._settled is not None:
                self._settled(tickets, kept)
        segment = self._segment
        if segment is not None and (segment.size >= SEGMENT_BYTES or time.monotonic() >= segment.until):
            self._retire()

    def _keep(self, data: bytes, rows: int, since: float) -> bool:
        """Whether they are on disk. If not they are lost, and the next write tries a new segment."""
        try:
            if self._segment is None:
                self._segment = self._open()
            self._segment.write(data)
            self._segment.sync()
        except OSError as error:
            with self._lock:
                self._figures[LOST] += rows
            if not self.error:
                print(f"conveyor.serving: observations are lost, serving goes on: {error}", file=sys.stderr, flush=True)
            self.error = str(error)
            self._retire()
            return False
        self._figures[LONGEST] = max(self._figures[LONGEST], time.monotonic() - since)
        self._figures[WRITTEN] += rows
        if self.error:
            print(
                f"conveyor.serving: observations are kept again; lost: {self._figures[LOST]:.0f}",
                file=sys.stderr,
                flush=True,
            )
            self.error = ""
        return True

    def _open(self) -> Segment:
        self._number += 1
        stem = f"{int(self._clock() * 1000)}-{os.getpid()}-{self._number}"
        return Segment(self._directory, stem, SEGMENT_SECONDS)

    def _retire(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except OSError as error:
            print(f"conveyor.serving: a segment of observations stays open: {error}", file=sys.stderr, flush=True)
