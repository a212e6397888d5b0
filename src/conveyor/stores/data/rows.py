"""The files of a scan with what their content is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from conveyor.stores.data.node import Entry
from conveyor.stores.data.scan import Scan
from conveyor.stores.data.stats import COLUMNS


class Rows:
    """The files of a scan with their content, as columns: a million of them in some 250 MB."""

    def __init__(self, found: Scan) -> None:
        self.paths = found.paths
        self.stats = found.stats
        self.kinds = bytearray(len(found.paths))
        self.digests = bytearray(32 * len(found.paths))

    def fill(self, row: int, kind: int, digest: bytes) -> None:
        self.kinds[row] = kind
        self.digests[32 * row : 32 * row + 32] = digest

    def drop(self, rows: set[int]) -> None:
        """Files that went away while they were to be read."""
        keep = [row for row in range(len(self.paths)) if row not in rows]
        self.paths = [self.paths[row] for row in keep]
        self.stats = array("q", [n for row in keep for n in self.stats[row * COLUMNS : row * COLUMNS + COLUMNS]])
        self.kinds = bytearray(self.kinds[row] for row in keep)
        self.digests = bytearray(b"".join(self.digests[32 * row : 32 * row + 32] for row in keep))

    def entries(self) -> Iterator[Entry]:
        digests = bytes(self.digests)
        for row, path in enumerate(self.paths):
            yield Entry(path, self.stats[row * COLUMNS], self.kinds[row], digests[32 * row : 32 * row + 32])

    def content(self) -> bytes:
        return bytes(self.kinds) + bytes(self.digests)
