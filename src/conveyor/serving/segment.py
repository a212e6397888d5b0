"""One file of the observation log. It is named `.open` only once it is locked, so that no reader takes it for a dead
process's."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


class Segment:
    """`until`: when it is due to be closed, by the monotonic clock."""

    def __init__(self, directory: Path, stem: str, seconds: float) -> None:
        new = directory / f"{stem}.new"
        self._path = directory / f"{stem}.open"
        self._closed_path = directory / f"{stem}.seg"
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            new.rename(self._path)
            _sync_directory(directory)
        except OSError:
            os.close(self._file)
            new.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
            raise
        self.size = 0
        self.until = time.monotonic() + seconds
        self._unsynced = False

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
        self._unsynced = True

    def sync(self) -> None:
        os.fdatasync(self._file)
        self._unsynced = False

    def close(self) -> None:
        try:
            if self.size == 0:
                self._path.unlink(missing_ok=True)
                return
            if self._unsynced:
                self.sync()
            self._path.rename(self._closed_path)
        finally:
            os.close(self._file)


def _sync_directory(directory: Path) -> None:
    """Makes the file's name as durable as its bytes."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
