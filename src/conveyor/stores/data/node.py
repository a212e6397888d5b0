"""The nodes of a tree of files, as bytes: entries in a leaf, references to nodes below in the others.

Entries are ordered by their path's parts, not by the path's bytes: so the order is the one in which a folder is
walked, and a folder's files are neighbours.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from conveyor.errors import CorruptObject
from conveyor.stores.data.backend import Bytes

EXECUTABLE, LINK, CUT = 1, 2, 4  # bits of `kind`
_LEAF, _INNER = b"L1", b"N1"
_HEAD = struct.Struct("<2sBII")  # magic, level, rows, bytes of names


class Entry(NamedTuple):
    """One file: its path inside the dataset, size in bytes, kind and content.

    Without CUT the content is one chunk (none when it is empty), with it the digest is the root of a `recipe`. A
    LINK's content is where it leads.
    """

    path: bytes
    size: int
    kind: int
    digest: bytes


class Ref(NamedTuple):
    """A node: the path of its last entry, how many files are below it, their bytes, and its digest."""

    last: bytes
    files: int
    size: int
    digest: bytes


def order(path: bytes) -> bytes:
    """The sort key of a path: NUL is the one byte that no name has, and the smallest."""
    return path.replace(b"/", b"\0")


def encode_leaf(entries: Sequence[Entry]) -> bytes:
    names = b"\0".join([entry[0] for entry in entries])
    count = len(entries)
    sizes = struct.pack(f"<{count}Q", *[entry[1] for entry in entries])
    kinds = bytes([entry[2] for entry in entries])
    digests = b"".join([entry[3] for entry in entries])
    return _HEAD.pack(_LEAF, 0, count, len(names)) + names + sizes + kinds + digests


def encode_inner(level: int, refs: Sequence[Ref]) -> bytes:
    names = b"\0".join([ref[0] for ref in refs])
    count = len(refs)
    figures = struct.pack(f"<{2 * count}Q", *[ref[1] for ref in refs], *[ref[2] for ref in refs])
    digests = b"".join([ref[3] for ref in refs])
    return _HEAD.pack(_INNER, level, count, len(names)) + names + figures + digests


def level_of(node: Bytes) -> int:
    try:
        magic, level, _, _ = _HEAD.unpack_from(node)
    except struct.error:
        raise _strange() from None
    if (magic, level == 0) not in ((_LEAF, True), (_INNER, False)):
        raise _strange()
    return int(level)


def decode_leaf(node: Bytes) -> list[Entry]:
    _, _, count, length = _HEAD.unpack_from(node)
    paths, at = _names(node, count, length)
    if len(node) != at + count * 41:
        raise _strange()
    sizes = struct.unpack_from(f"<{count}Q", node, at)
    kinds = bytes(node[at + 8 * count : at + 9 * count])
    digests = _digests(node, at + 9 * count, count)
    return list(map(Entry, paths, sizes, kinds, digests))


def decode_inner(node: Bytes) -> list[Ref]:
    _, _, count, length = _HEAD.unpack_from(node)
    paths, at = _names(node, count, length)
    if len(node) != at + count * 48:
        raise _strange()
    figures = struct.unpack_from(f"<{2 * count}Q", node, at)
    return list(map(Ref, paths, figures[:count], figures[count:], _digests(node, at + 16 * count, count)))


def _names(node: Bytes, count: int, length: int) -> tuple[list[bytes], int]:
    at = _HEAD.size
    names = bytes(node[at : at + length])
    paths = names.split(b"\0") if count else []
    if len(paths) != count or len(names) != length:
        raise _strange()
    return paths, at + length


def _digests(node: Bytes, at: int, count: int) -> list[bytes]:
    raw = bytes(node[at : at + 32 * count])
    return [raw[place : place + 32] for place in range(0, 32 * count, 32)]


def _strange() -> CorruptObject:
    return CorruptObject("a node of a tree of files does not read as one", hint="See `conveyor data verify`.")
