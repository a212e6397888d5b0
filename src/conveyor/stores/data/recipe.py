"""Large files: cut where their content says so, and put together again.

A file's recipe lists its chunks; where it is long it is cut into nodes by its own content and listed again, so that a
file that has grown shares the nodes of what it was. The boundaries follow FastCDC (Xia et al., 2020).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from conveyor.errors import CorruptObject
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.chunks import digest_of
from conveyor.stores.data.walk import TreeReader

WHOLE = 1 << 20  # bytes: a file up to this size is one chunk
AVERAGE, LEAST, MOST = 64 * 1024, 16 * 1024, 256 * 1024  # bytes of a chunk
_SEGMENT = 8 * 1024 * 1024  # bytes read at once
_SPREAD, _LONGEST = 256, 2048  # rows of a node: on average, at most
_HEAD = struct.Struct("<2sBI")
_MAGIC = b"R1"

Put = Callable[[bytes, Bytes], None]


class Piece(NamedTuple):
    """A chunk, or a node of a recipe: its digest, and the bytes of the file that it stands for."""

    digest: bytes
    size: int


def cut(read_into: Callable[[memoryview], int]) -> Iterator[memoryview]:
    """Cuts what `read_into` fills buffers with (0 at the end) into chunks; bounded memory, one copy."""
    from pyfastcdc import FastCDC  # only large files need it, and it loads half of typing

    cutter = FastCDC(avg_size=AVERAGE, min_size=LEAST, max_size=MOST)
    rest = memoryview(b"")
    ended = False
    while not ended:
        buffer = memoryview(bytearray(_SEGMENT + len(rest)))
        buffer[: len(rest)] = rest
        filled = len(rest)
        while filled < len(buffer) and not ended:
            count = read_into(buffer[filled:])
            filled += count
            ended = count == 0
        at = 0
        for chunk in cutter.cut_buf(buffer[:filled]):
            if not ended and chunk.offset + chunk.length == filled:
                break  # it may go on in the next segment
            yield buffer[at : at + chunk.length]
            at += chunk.length
        rest = buffer[at:filled]


def write(pieces: Iterable[Piece], put: Put) -> Piece:
    """The root of the recipe of these chunks, its nodes handed to `put`."""
    rows, level = list(pieces), 0
    while True:
        rows = list(_nodes(rows, level, put))
        if len(rows) == 1:
            return rows[0]
        level += 1


def _nodes(rows: Sequence[Piece], level: int, put: Put) -> Iterator[Piece]:
    batch: list[Piece] = []
    for row in rows:
        batch.append(row)
        if (row.digest[level % 32] == 0 and len(batch) > 1) or len(batch) == _LONGEST:
            yield _node(batch, level, put)
            batch = []
    if batch:
        yield _node(batch, level, put)


def _node(rows: list[Piece], level: int, put: Put) -> Piece:
    sizes = struct.pack(f"<{len(rows)}Q", *[row.size for row in rows])
    raw = _HEAD.pack(_MAGIC, level, len(rows)) + sizes + b"".join([row.digest for row in rows])
    digest = digest_of(raw)
    put(digest, raw)
    return Piece(digest, sum(row.size for row in rows))


def read(root: bytes, source: TreeReader) -> Iterator[Piece]:
    """The chunks of a file, in order."""
    level, rows = decode(source.get(root))
    if level == 0:
        yield from rows
        return
    for row in rows:
        yield from read(row.digest, source)


def decode(raw: Bytes) -> tuple[int, list[Piece]]:
    """Level and rows of a recipe's node."""
    try:
        magic, level, count = _HEAD.unpack_from(raw)
    except struct.error:
        raise _strange() from None
    if magic != _MAGIC or len(raw) != _HEAD.size + 40 * count or not count:
        raise _strange()
    sizes = struct.unpack_from(f"<{count}Q", raw, _HEAD.size)
    digests = bytes(raw[_HEAD.size + 8 * count :])
    return level, [Piece(digests[32 * row : 32 * row + 32], sizes[row]) for row in range(count)]


def _strange() -> CorruptObject:
    return CorruptObject("a recipe of a large file does not read as one", hint="See `conveyor data verify`.")
