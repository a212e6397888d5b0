"""When a file in a watched place may be taken: not while it is being written, and not never. Pure.

Taken is, after it has stood still (size, time of change, inode) for that long:

    SETTLED    a Parquet file whose footer is there, and any file that surely nobody has open for writing
    QUIET      a file of which it cannot be told who has it open (another machine's, another user's)
    PATIENCE   a file that is empty, or a Parquet file without a footer: it is taken then so that it is refused by name

A file that a writer has open waits for as long as that lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SETTLED = timedelta(seconds=0.5)
QUIET = timedelta(seconds=5)
PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Watched:
    """A file or object of a watched place that was dealt with, so that it is not looked at again as it is."""

    id: str  # project/dataset/name
    dataset: str  # project/dataset
    stamp: str  # of a file its size, time of change and inode; of an object its version
    note: str = ""  # why it was not taken; empty: it was

    @property
    def name(self) -> str:
        return self.id.removeprefix(f"{self.dataset}/")


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at a file saw. None: it cannot be told."""

    whole: bool | None  # its format says where it ends, and the end is there
    held: bool | None  # a process has it open for writing


@dataclass(frozen=True, slots=True)
class Verdict:
    take: bool
    why: str = ""  # it waits


def judge(sight: Sight, still: timedelta) -> Verdict:
    """`still`: for how long the file has not changed."""
    if sight.held:
        return Verdict(False, "a process has it open for writing")
    if sight.whole is False:
        return Verdict(still >= PATIENCE, "its end is not there yet")
    sure = sight.whole or sight.held is False
    return Verdict(still >= (SETTLED if sure else QUIET), "it may still be written to")


def told(name: bytes) -> str:
    """A file's name as text that can be shown and stored: what is not printable UTF-8 is escaped, no two alike."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable() and "\\" not in text:
        return text
    escaped = name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in escaped)


def due(now: datetime, last: datetime | None, cost: timedelta, least: timedelta, share: float) -> bool:
    """Whether it is time for another look that costs `cost`, so that looks take at most `share` of the time."""
    return last is None or now - last >= max(least, cost / share) or now < last
