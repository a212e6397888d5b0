"""A folder as a backend. Written values are on disk before they have their name: temp + fsync + rename."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from conveyor.errors import NoSpace, NotFound, Unavailable
from conveyor.stores.data.backend import Bytes, Item

_RESERVE = 64 * 1024 * 1024  # bytes that are always left free, on a disk that has them to spare
_PARTS = 1000  # of one writev; the kernel takes 1024
_PIECE = 1 << 20  # bytes
_TEMP = "tmp"


class LocalBackend:
    """`root` is made when the first value is written. Reading leaves no trace."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[Path] = set()

    @property
    def url(self) -> str:
        return str(self._root)

    def put(self, key: str, parts: Sequence[Bytes]) -> None:
        self._place(key, sum(len(part) for part in parts), _joined(parts))

    def take(self, key: str, size: int, pieces: Iterable[Bytes]) -> None:
        self._place(key, size, ([piece] for piece in pieces))

    def create(self, key: str, value: bytes) -> bool:
        target = self._target(key)
        with self._written(len(value), [[value]]) as temp:
            try:
                os.link(temp, target)
            except FileExistsError:
                return False
            except OSError as error:
                raise Unavailable(
                    f"{self.url} cannot hold a store: it has no hard links ({error.strerror})",
                    hint="Keep .conveyor on a local file system, or use an object store.",
                ) from error
        sync_directory(target.parent)
        return True

    def get(self, key: str) -> bytes:
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise missing(key, self.url) from None

    def pieces(self, key: str) -> Iterator[Bytes]:
        """Through one buffer: memory that is new costs more than the bytes that are read into it."""
        buffer = memoryview(bytearray(_PIECE))
        try:
            with (self._root / key).open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    yield buffer[:count]
        except (FileNotFoundError, NotADirectoryError):
            raise missing(key, self.url) from None

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Bytes]:
        try:
            handle = os.open(self._root / key, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise missing(key, self.url) from None
        try:
            return [os.pread(handle, length, offset) for offset, length in spans]
        finally:
            os.close(handle)

    def list(self, prefix: str) -> Iterator[Item]:
        folders = [prefix.rstrip("/")]
        while folders:
            folder = folders.pop()
            try:
                entries = os.scandir(self._root / folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(key)
                    elif (item := self.head(key)) is not None:
                        yield item

    def head(self, key: str) -> Item | None:
        try:
            found = os.stat(self._root / key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Item(key, found.st_size, found.st_mtime)

    def delete(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)

    def leftovers(self, before: float) -> Sequence[Path]:
        """Temporary files of writers that were killed: those last written before the time given."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._root / _TEMP) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before:
                        found.append(Path(entry.path))
        return found

    def _target(self, key: str) -> Path:
        target = self._root / key
        self._make(target.parent)
        return target

    def _make(self, folder: Path) -> None:
        """A new folder's own entry must be on disk before what is in it counts as written."""
        if folder in self._made:
            return
        new = [each for each in (folder, *folder.parents) if not each.is_dir()]
        with self._told(0):
            folder.mkdir(parents=True, exist_ok=True)
            for each in new:
                sync_directory(each.parent)
        self._made.add(folder)

    def _place(self, key: str, size: int, batches: Iterable[Sequence[Bytes]]) -> None:
        with self._written(size, batches) as temp:
            target = self._target(key)
            temp.replace(target)
        sync_directory(target.parent)

    @contextmanager
    def _written(self, size: int, batches: Iterable[Sequence[Bytes]]) -> Iterator[Path]:
        """A temporary file with the batches, on disk. The room is taken first, so that a full disk is known at once."""
        self._make(self._root / _TEMP)
        temp = self._root / _TEMP / f"{os.getpid()}-{os.urandom(8).hex()}"
        self._room(size)
        try:
            with self._told(size):
                handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                try:
                    _write(handle, batches, size)
                    os.fsync(handle)
                finally:
                    os.close(handle)
            yield temp
        finally:
            temp.unlink(missing_ok=True)

    def _room(self, size: int) -> None:
        disk = os.statvfs(self._root)
        reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // 20)
        if disk.f_bavail * disk.f_frsize < size + reserve:
            raise _full(size, self.url)

    @contextmanager
    def _told(self, size: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(size, self.url) from error
            raise Unavailable(
                f"{self.url} cannot be written to: {error.strerror}",
                hint="Look at the rights to it and at its disk; what was stored is kept.",
            ) from error


def _joined(parts: Sequence[Bytes]) -> Iterator[Sequence[Bytes]]:
    """As many together as one call may write."""
    for start in range(0, len(parts), _PARTS):
        yield parts[start : start + _PARTS]


def _write(handle: int, batches: Iterable[Sequence[Bytes]], size: int) -> None:
    if size > 1 << 20:  # one extent, and less for fsync to do: five times the speed on ext4
        with suppress(NotImplementedError):
            try:
                os.posix_fallocate(handle, 0, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
    for batch in batches:
        wanted = sum(len(part) for part in batch)
        done = os.writev(handle, batch)
        if done < wanted:  # a signal, or more than the kernel takes at once
            rest = memoryview(b"".join(batch))[done:]
            while rest:
                rest = rest[os.write(handle, rest) :]


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def missing(key: str, url: str) -> NotFound:
    return NotFound(f"{key} is not in {url}", hint="`conveyor data verify` tells what is affected.")


def _full(size: int, where: str) -> NoSpace:
    return NoSpace(
        f"no room for {size:,} bytes in {where}",
        hint="Free some space and try again; nothing that was stored is lost.",
    )
