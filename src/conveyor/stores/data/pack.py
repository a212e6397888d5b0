"""The pack: many chunks in one immutable object, with the index of what it holds at its end.

    magic · salt · chunk · chunk · ... · index · foot

The index is columns, one row a chunk: digests (32 bytes each), stored lengths, raw lengths (4 bytes each, little
endian). A chunk that is stored shorter than it is raw is zstd. The foot says how many chunks there are and has the
BLAKE3 of the index, so that a pack which was cut off or written over is known without reading it whole. A pack is
named by the BLAKE3 of all its bytes. The salt is random: a pack that is written while gc deletes one with the same
chunks has another name, and is not deleted with it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from blake3 import blake3

from conveyor.errors import CorruptObject
from conveyor.stores.data.backend import Bytes

MAGIC = b"conveyor pack 1\n"
_FOOT = struct.Struct("<8sQ32s")
_END = b"CVPKEND1"
FOOT_SIZE = _FOOT.size
_ROW = 40
_SALT = 16
_GROUP = 256 * 1024  # bytes hashed at once
_START = len(MAGIC) + _SALT
FOLDER = "packs/"


class Place(NamedTuple):
    """Where a chunk lies in its pack: bytes from the start, as stored, and its length once it is read."""

    digest: bytes
    offset: int
    stored: int
    raw: int


class Pack(NamedTuple):
    name: bytes  # BLAKE3 of all bytes
    parts: list[Bytes]
    places: list[Place]
    size: int


def key_of(name: bytes) -> str:
    text = name.hex()
    return f"{FOLDER}{text[:2]}/{text}"


def name_of(key: str) -> bytes | None:
    """The name of the pack under this key; None where it is no pack's."""
    try:
        name = bytes.fromhex(key.rpartition("/")[2])
    except ValueError:
        return None
    return name if len(name) == 32 else None


def assemble(chunks: Sequence[tuple[bytes, Bytes, int]]) -> Pack:
    """A pack of (digest, stored bytes, raw length); the bytes are not copied."""
    parts: list[Bytes] = [MAGIC, os.urandom(_SALT)]
    places = []
    offset = _START
    for digest, stored, raw in chunks:
        parts.append(stored)
        places.append(Place(digest, offset, len(stored), raw))
        offset += len(stored)
    count = len(places)
    index = b"".join(place.digest for place in places)
    index += struct.pack(f"<{count}I", *(place.stored for place in places))
    index += struct.pack(f"<{count}I", *(place.raw for place in places))
    parts += [index, _FOOT.pack(_END, count, blake3(index).digest())]
    return Pack(_digest(parts), parts, places, offset + len(index) + FOOT_SIZE)


def _digest(parts: Sequence[Bytes]) -> bytes:
    """BLAKE3 of all parts. Small ones are put together first: each update gives the interpreter's lock up and waits to
    get it again, which holds up the thread that reads files, and this one."""
    hasher, group, held = blake3(), list[Bytes](), 0
    for part in parts:
        group.append(part)
        held += len(part)
        if held >= _GROUP:
            hasher.update(b"".join(group))
            group, held = [], 0
    hasher.update(b"".join(group))
    return hasher.digest()


def index_size(foot: Bytes, size: int, name: str) -> int:
    """How many bytes the index before this foot has, in a pack of `size` bytes; CorruptObject where it is no foot."""
    try:
        end, count, _ = _FOOT.unpack(foot)
    except struct.error:
        raise damaged(name, "it is cut off") from None
    if end != _END or count * _ROW + FOOT_SIZE + _START > size:
        raise damaged(name, "its end is not the end of a pack")
    return int(count) * _ROW


def places(index: Bytes, foot: Bytes, name: str) -> list[Place]:
    """The rows of a pack's index; CorruptObject where they are not what its foot says."""
    _, count, digest = _FOOT.unpack(foot)
    if len(index) != count * _ROW or blake3(index).digest() != digest:
        raise damaged(name, "its index was changed")
    lengths = struct.unpack(f"<{2 * count}I", index[32 * count :])
    found, offset = [], _START
    for row in range(count):
        found.append(Place(bytes(index[32 * row : 32 * row + 32]), offset, lengths[row], lengths[count + row]))
        offset += lengths[row]
    return found


def damaged(name: str, why: str) -> CorruptObject:
    return CorruptObject(
        f"pack {name[:12]} is damaged: {why}",
        hint="`conveyor data verify` tells what is affected; with --repair it takes good copies from a remote.",
    )
