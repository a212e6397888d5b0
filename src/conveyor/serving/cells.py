"""The figures of a model server's processes: each counts in a row of its own, which all of them can read.

The rows are doubles in one piece of memory that a parent shares with its workers. A worker that takes the place of a
dead one goes on with that one's row, so counters never fall.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

CLOSED = 0  # connections that this worker no longer has; other cells are named where they are counted
FIRST = 1
ROW_BYTES = 1 << 20  # of address space; memory is used by what is counted
Row: TypeAlias = "memoryview[float]"


@dataclass(frozen=True, slots=True)
class Cells:
    mine: Row
    rows: Sequence[Row]

    def total(self, at: int) -> float:
        return sum(row[at] for row in self.rows)

    def most(self, at: int) -> float:
        return max(row[at] for row in self.rows)


def alone() -> Cells:
    """For a process without others."""
    row = memoryview(bytearray(ROW_BYTES // 64)).cast("d")
    return Cells(row, (row,))


def shared(count: int) -> int:
    """A file descriptor of rows for so many processes; it goes with the last of them."""
    handle = os.memfd_create("conveyor-figures")
    os.ftruncate(handle, count * ROW_BYTES)
    return handle


def opened(handle: int, slot: int, count: int) -> Cells:
    view = memoryview(mmap.mmap(handle, count * ROW_BYTES)).cast("d")
    width = ROW_BYTES // 8
    rows = tuple(view[at * width : (at + 1) * width] for at in range(count))
    return Cells(rows[slot], rows)
