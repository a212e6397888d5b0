"""Packed text files, unpacked to disk in bounded memory and up to a bound: a small file may unpack without end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from conveyor.errors import InputRejected

_GZIP, _ZSTD, _ZLIB = (b"\x1f\x8b",), (b"\x28\xb5\x2f\xfd",), (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_CHUNK = 2**20
_PIECE = 2**10  # bytes; of Zstandard they unpack to 32 MB at the most
_WINDOW = 2**27  # bytes that a frame may ask to be kept in memory


def unpacked(path: Path, name: str, most: int, scratch: Path) -> Path:
    """The file itself where it is not packed. Raises InputRejected beyond `most` bytes, or where it is damaged."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head.startswith((*_GZIP, *_ZSTD, *_ZLIB)):
        return path
    scratch.mkdir(parents=True, exist_ok=True)
    target, size = scratch / "unpacked", 0
    try:
        with target.open("wb") as out:
            for chunk in _chunks(path, head):
                size += len(chunk)
                if size > most:
                    raise too_large(name, "it unpacks to more than", most)
                out.write(chunk)
    except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise InputRejected(
            f"{name} cannot be unpacked: {str(error) or 'it breaks off'}", hint="Send the whole file again."
        ) from error
    return target


def too_large(name: str, what: str, most: int) -> InputRejected:
    return InputRejected(
        f"{name}: {what} the {most / 2**20:,.0f} MB that one file may have",
        hint="Send it in parts, or raise `limits.mb` of the dataset in conveyor.toml.",
    )


def _chunks(path: Path, head: bytes) -> Iterator[bytes]:
    with path.open("rb") as file:
        if head.startswith(_GZIP):
            with gzip.open(file) as reader:
                while chunk := reader.read(_CHUNK):
                    yield chunk
        elif head.startswith(_ZSTD):
            yield from _frames(iter(lambda: file.read(_PIECE), b""))
        else:
            yield from _inflated(zlib.decompressobj(), iter(lambda: file.read(_CHUNK), b""))


def _frames(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Of Zstandard, one after the other; that the last one is whole only this way of reading tells."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame = None
    for piece in packed:
        rest = piece
        while rest:
            frame = frame or unpacker.decompressobj()
            yield frame.decompress(rest)
            rest = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it breaks off")


def _inflated(inflate: zlib._Decompress, packed: Iterator[bytes]) -> Iterator[bytes]:
    for piece in packed:
        rest = piece
        while rest:
            yield inflate.decompress(rest, _CHUNK)
            rest = inflate.unconsumed_tail
    if not inflate.eof:
        raise EOFError("it breaks off")
