"""Whether a file is a pickle, by what is in it: also one that is compressed, or has another name. Nothing is run.

An unpickler carries out opcodes until one is wrong. So what matters is not whether the whole file is a good pickle, but
whether it begins as one: with opcodes that import a name, and go on from there.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from conveyor.domain.pickles import pickled

_HEAD, _DEEP = 16, 3  # bytes; compressions inside each other
_OPCODES, _BYTES = 1_000_000, 4 << 30  # what is good for so long is taken for one
_CHUNK = 1 << 16  # no name of a module is as long
_NAME = re.compile(r"\w+(?:\.\w+)* \w+(?:\.\w+)*")
_IMPORTS = frozenset(("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"))
_CALLS = frozenset(("REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "INST", "STOP"))
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
Opener = Callable[[], contextlib.AbstractContextManager[IO[bytes]]]


def is_pickle(path: str, file: Path) -> bool:
    """`path` is what it is called where it will be kept."""
    return pickled(path, b"", _members(file)) or _inside(lambda: file.open("rb"), _DEEP)


def _inside(open_: Opener, deep: int) -> bool:
    with open_() as stream:
        head = stream.read(_HEAD)
    if pickled("", head) or _begins(open_):
        return True
    unpacked = _unpacked(open_, head) if deep else None
    if unpacked is None:
        return False
    try:
        return _inside(unpacked, deep - 1)
    except _UNREADABLE:
        return False


def _unpacked(open_: Opener, head: bytes) -> Opener | None:
    """As joblib and pandas compress; a stream of zlib has no name of its own, only a header with a checksum."""
    if head.startswith(b"\x1f\x8b"):
        return lambda: _over(open_, lambda stream: gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return lambda: _over(open_, bz2.BZ2File)
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lambda: _over(open_, lzma.LZMAFile)
    if len(head) > 1 and head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0:
        return lambda: _over(open_, lambda stream: io.BufferedReader(_Zlib(stream)))
    return None


@contextlib.contextmanager
def _over(open_: Opener, unpack: Callable[[IO[bytes]], Any]) -> Iterator[IO[bytes]]:
    with open_() as stream, unpack(stream) as unpacked:
        yield unpacked


def _begins(open_: Opener) -> bool:
    """Whether an unpickler would import something: the opcodes are read, none is carried out."""
    marked = imported = False
    with contextlib.suppress(*_UNREADABLE), open_() as stream:
        reader: Any = _Reader(stream)
        for count, (opcode, argument, _) in enumerate(pickletools.genops(reader)):
            name = opcode.name
            marked |= name == "MARK"
            if (name in ("INST", "OBJ") and not marked) or (
                name in ("GLOBAL", "INST") and not _NAME.fullmatch(str(argument))
            ):
                return False
            imported |= name in _IMPORTS
            if (imported and name in _CALLS) or count > _OPCODES or reader.skipped > _BYTES:
                return True
    return False


def _members(file: Path) -> list[str]:
    with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, *_UNREADABLE), zipfile.ZipFile(file) as packed:
        return packed.namelist()
    return []


class _Long(bytes):
    """Stands for so many bytes that were skipped."""

    def __new__(cls, length: int) -> _Long:
        made = super().__new__(cls)
        made.length = length
        return made

    length: int

    def __len__(self) -> int:
        return self.length


class _Reader:
    """What `pickletools` reads from; a long argument is skipped rather than held."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.skipped = 0

    def read(self, count: int) -> bytes:
        if count <= _CHUNK:
            return self._stream.read(count)
        left = count
        while left and self.skipped <= _BYTES:
            part = self._stream.read(min(left, _CHUNK))
            if not part:
                return b""
            left, self.skipped = left - len(part), self.skipped + len(part)
        return _Long(count)

    def readline(self) -> bytes:
        first = line = self._stream.readline(_CHUNK)
        while line and not line.endswith(b"\n") and self.skipped <= _BYTES:
            line = self._stream.readline(_CHUNK)
            self.skipped += len(line)
        return first if first.endswith(b"\n") or not line else first + b"\n"


class _Zlib(io.RawIOBase):
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._inflate = stream, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            raw = self._inflate.unconsumed_tail or self._stream.read(_CHUNK)
            if not raw:
                return 0
            if found := self._inflate.decompress(raw, len(buffer)):
                buffer[: len(found)] = found
                return len(found)
        return 0
