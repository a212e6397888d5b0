"""Rows that arrive by request, and the frames of the log that keeps them until they are part of a version. Pure.

A frame: length of the payload and CRC-32 of all that follows, then the digests that tell a repeated request, then the
payload: a request's body as it was sent. A segment is frames one after the other, all of one format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LARGEST = 16 * 2**20
"""Bytes of one request."""
REMEMBERED = timedelta(hours=24)
MOST_KEYS = 500_000
"""For how long, and how many of a dataset at most, idempotency keys are remembered; the oldest are forgotten first."""
SUFFIX = ".rows"

_HEAD = struct.Struct("<II16s16s")
NO_KEY = bytes(16)


class Format(StrEnum):
    NDJSON = "ndjson"
    ARROW = "arrow"


MEDIA = {
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/vnd.apache.arrow.stream": Format.ARROW,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """`key` and `body` are digests: of the client's key, NO_KEY if it sent none, and of the payload."""

    payload: bytes
    key: bytes = NO_KEY
    body: bytes = bytes(16)


def encode(frame: Frame) -> bytes:
    rest = frame.key + frame.body + frame.payload
    return _HEAD.pack(len(frame.payload), zlib.crc32(rest), frame.key, frame.body) + frame.payload


def frames(raw: bytes | memoryview) -> Iterator[tuple[Frame, int]]:
    """Each whole frame with the offset behind it; a torn one ends it, and what follows is not looked at."""
    offset, view = 0, memoryview(raw)
    while offset + _HEAD.size <= len(view):
        length, crc, key, body = _HEAD.unpack_from(view, offset)
        end = offset + _HEAD.size + length
        if end > len(view) or zlib.crc32(view[offset + 8 : end]) != crc:
            return
        yield Frame(bytes(view[offset + _HEAD.size : end]), key, body), end
        offset = end


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The keys of one segment, kept beyond it so that a request that is sent again is known: digests in hex."""

    id: str  # that of the arrival that the segment became
    dataset: str
    keys: tuple[str, ...]  # of the key, then of the body
    created: datetime


@dataclass(frozen=True, slots=True)
class RowsTaken:
    """What a request was answered. `duplicate`: it had been taken before, and was not taken again."""

    rows: int
    duplicate: bool = False


def format_of(name: str) -> Format:
    """Of a segment's name, `<id>.ndjson.rows`."""
    return Format(name.removesuffix(SUFFIX).rpartition(".")[2])
