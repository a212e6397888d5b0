"""The observation log's writing side: a bounded buffer, drained by one thread with group commit.

Serving never waits for the disk. When the buffer is full or the disk refuses, observations are counted as lost and
serving goes on. A segment is written as `<unixms>-<pid>-<n>.open`, under a lock that dies with this process, and
renamed to `.seg` when closed.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from conveyor.domain.observation import Prediction, encode

GATHER_SECONDS = 0.01  # how long the first of a group waits for others
SYNC_SECONDS = 0.05
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENT_SECONDS = 1.0
BUFFER_BYTES = 64 * 1024 * 1024


class ObservationWriter:
    """`append` from any thread; `start` once; `close` writes what is buffered and ends the thread."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time, limit: int = BUFFER_BYTES) -> None:
        self._directory = directory
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._frames: list[bytes] = []
        self._frame_rows: list[int] = []
        self._bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="observations", daemon=True)
        self._segment: _Segment | None = None
        self._number = 0
        self.written = 0  # rows in the log
        self.lost = 0  # rows that are not
        self.error = ""  # the last refusal of the disk

    @property
    def buffered_bytes(self) -> int:
        return self._bytes

    def start(self) -> None:
        self._thread.start()

    def append(self, prediction: Prediction) -> None:
        frame = encode(prediction)
        with self._lock:
            if self._bytes + len(frame) > self._limit:
                self.lost += prediction.rows
                return
            self._frames.append(frame)
            self._frame_rows.append(prediction.rows)
            self._bytes += len(frame)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float = 10.0) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(SYNC_SECONDS if self._segment is not None else None)
            if self._wake.is_set():
                self._stopping.wait(GATHER_SECONDS)
                self._wake.clear()
            self._turn()
        self._turn()
        self._retire()

    def _turn(self) -> None:
        with self._lock:
            frames, rows = self._frames, sum(self._frame_rows)
            self._frames, self._frame_rows, self._bytes = [], [], 0
        if frames:
            try:
                if self._segment is None:
                    self._segment = self._open()
                self._segment.write(b"".join(frames))
                self.written += rows
            except OSError as error:
                self._refused(error, rows)
        if self._segment is not None:
            self._keep_up(self._segment)

    def _keep_up(self, segment: _Segment) -> None:
        now = time.monotonic()
        if segment.size >= SEGMENT_BYTES or now - segment.opened >= SEGMENT_SECONDS:
            self._retire()
        elif segment.unsynced and now - segment.synced >= SYNC_SECONDS:
            try:
                segment.sync()
            except OSError as error:
                self._refused(error, 0)

    def _open(self) -> _Segment:
        self._number += 1
        stem = f"{int(self._clock() * 1000)}-{os.getpid()}-{self._number}"
        return _Segment(self._directory, stem)

    def _refused(self, error: OSError, rows: int) -> None:
        """These rows are lost; the segment ends at its last whole frame, and the next write tries a new one."""
        self.lost += rows
        self.error = str(error)
        self._retire()

    def _retire(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except OSError as error:
            self.error = str(error)


class _Segment:
    """One file. It is named `.open` only once it is locked, so that no reader takes it for a dead process's."""

    def __init__(self, directory: Path, stem: str) -> None:
        new = directory / f"{stem}.new"
        self._path = directory / f"{stem}.open"
        self._closed_path = directory / f"{stem}.seg"
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            new.rename(self._path)
        except OSError:
            os.close(self._file)
            new.unlink(missing_ok=True)
            raise
        self.size = 0
        self.opened = self.synced = time.monotonic()
        self.unsynced = False

    def write(self, data: bytes) -> None:
        """All of `data` or, after an OSError, none of it."""
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:] if done else data)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += len(data)
        self.unsynced = True

    def sync(self) -> None:
        os.fdatasync(self._file)
        self.synced = time.monotonic()
        self.unsynced = False

    def close(self) -> None:
        try:
            if self.size == 0:
                self._path.unlink(missing_ok=True)
                return
            if self.unsynced:
                self.sync()
            self._path.rename(self._closed_path)
        finally:
            os.close(self._file)
