"""The observation log's reading side: segments that model servers wrote, oldest first.

<unixms>-<pid>-<n>.open   being written, locked by its writer for as long as that lives
<unixms>-<pid>-<n>.seg    closed
<unixms>-<pid>-<n>.bad    set aside: could not be decoded
"""

from __future__ import annotations

import fcntl
from pathlib import Path

import msgspec

from conveyor.domain.observation import Prediction, decode_all
from conveyor.errors import CorruptObject


class ObservationLog:
    """One observations directory; it may not exist yet. A segment given out by `segments` is never written again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def segments(self) -> list[Path]:
        """Closed segments and those that dead processes left open, by the time they were begun."""
        try:
            names = list(self.directory.iterdir())
        except FileNotFoundError:
            return []
        found = [path for path in names if path.suffix == ".seg" or (path.suffix == ".open" and _abandoned(path))]
        return sorted(found, key=_order)

    def read(self, path: Path) -> list[Prediction]:
        """The whole frames of a segment; a torn last frame, left by a kill, is dropped.

        Raises CorruptObject when a frame inside cannot be decoded.
        """
        try:
            return decode_all(path.read_bytes())[0]
        except msgspec.DecodeError as error:
            raise CorruptObject(
                f"observation segment {path.name} is damaged: {error}", hint="it can be set aside; later ones are whole"
            ) from error

    def delete(self, path: Path) -> None:
        """Ends a segment whose rows are kept elsewhere. Deleting twice is no error."""
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> Path:
        """Takes a damaged segment out of the list and keeps its bytes."""
        return path.rename(path.with_suffix(".bad"))


def _abandoned(path: Path) -> bool:
    """The kernel drops a lock with its process: a lock that can be had means no writer. (A pid may be another's.)"""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return path.exists()  # its writer may have closed and renamed it just now; then it is listed as .seg next time


def _order(path: Path) -> tuple[int, ...]:
    parts = path.stem.split("-")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)
