"""Objects: bytes by their BLAKE3 digest, on local disk or any object store by URL, verified on every read."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import obstore
from blake3 import blake3
from obstore.store import LocalStore, ObjectStore, from_url

from conveyor.domain.references import DIGEST, Stored
from conveyor.errors import CorruptObject, NoSpace, NotFound

T = TypeVar("T")

_RESERVE = 64 * 1024 * 1024  # bytes that are always left free on the disk
_YOUNG = timedelta(hours=1)  # a remote object that is older is stored again, which makes it young

_REMEMBERED = 4096  # documents whose meaning is remembered, of some kilobytes each
_GONE = ".gone"  # the end of the name of an object that is being deleted


def digest_bytes(data: bytes) -> str:
    return blake3(data).hexdigest()


def digest_file(path: Path) -> str:
    """BLAKE3 of a file's content, read by memory map in bounded memory."""
    hasher = blake3()
    hasher.update_mmap(path)
    return hasher.hexdigest()


class Objects:
    """Put, get, path, has, delete. `cache` holds copies of a remote store's objects for processes that need files."""

    def __init__(self, url: str, cache: Path) -> None:
        self._root = Path(url.removeprefix("file://")) if url.startswith(("/", "file://")) else None
        self._cache = cache
        self._moving = threading.Lock()
        self._remembering = threading.Lock()
        self._parsed: OrderedDict[str, Any] = OrderedDict()
        self._store: ObjectStore
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._root, mkdir=True)
        else:
            self._store = from_url(url)

    def parsed(self, digest: str, read: Callable[[bytes], T]) -> T:
        """What small bytes mean, remembered for as long as there are not too many: they never change."""
        with self._remembering:
            if digest in self._parsed:
                self._parsed.move_to_end(digest)
                return cast(T, self._parsed[digest])
        found = read(self.get(digest))
        with self._remembering:
            self._parsed[digest] = found
            while len(self._parsed) > _REMEMBERED:
                self._parsed.popitem(last=False)
        return found

    def put(self, data: bytes) -> str:
        """Stores bytes; the same bytes are stored once."""
        digest = digest_bytes(data)
        if not self._renew(digest):
            self._room(len(data))
            obstore.put(self._store, _key(digest), data)
            self._sync(digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's content; the file itself is left where it is."""
        digest = digest_file(path)
        if not self._renew(digest):
            self._room(path.stat().st_size)
            obstore.put(self._store, _key(digest), path)
            self._sync(digest)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, after checking that they are what the digest says."""
        try:
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        except FileNotFoundError:
            raise _missing(digest) from None
        if digest_bytes(data) != digest:
            raise _corrupt(digest)
        return data

    def path(self, digest: str) -> Path:
        """A verified local file with the object's bytes, for reading only."""
        local = (self._root or self._cache) / _key(digest)
        if not local.exists():
            if self._root is not None:
                raise _missing(digest)
            self._fetch(digest, local)
        if digest_file(local) != digest:
            raise _corrupt(digest)
        return local

    def place(self, digest: str) -> Path:
        """A local file with the object's bytes, whose digest the reader compares when it reads all of them.

        For looking at a part of many large objects, where hashing each would cost more than the look.
        """
        local = (self._root or self._cache) / _key(digest)
        return local if local.exists() else self.path(digest)

    def has(self, digest: str) -> bool:
        if self._root is not None:
            return (self._root / _key(digest)).exists()
        try:
            obstore.head(self._store, _key(digest))
        except FileNotFoundError:
            return False
        return True

    def keep(self, digest: str) -> bool:
        """Whether it is there; a local one is young again, so that it stays until its digest is written somewhere."""
        return self._renew(digest) if self._root is not None else self.has(digest)

    def note(self, name: str, data: bytes) -> None:
        """Keeps a few bytes under a name beside the objects, such as which of them a step made. The last one holds."""
        obstore.put(self._store, name, data)

    def noted(self, name: str) -> bytes | None:
        if self._root is not None:
            place = self._root / name
            return place.read_bytes() if place.is_file() else None
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def delete(self, digest: str) -> None:
        if self.has(digest):
            obstore.delete(self._store, _key(digest))

    def stored(self) -> Iterator[Stored]:
        """Every object; what is not named as one is left out."""
        for batch in obstore.list(self._store):
            for each in batch:
                digest = str(each["path"]).replace("/", "")
                if self._root is not None and digest.endswith(_GONE):  # a crash left it
                    with self._moving:
                        (self._root / str(each["path"])).unlink(missing_ok=True)
                elif DIGEST.fullmatch(digest) and str(each["path"]) == _key(digest):
                    yield Stored(digest, int(each["size"]), each["last_modified"])

    def discard(self, digest: str, before: datetime) -> bool:
        """Deletes an object that was not stored, or stored again, since `before`; False where it stays.

        A local one is moved aside first: whoever renewed it in that moment gets it back.
        """
        if self._root is None:
            (self._cache / _key(digest)).unlink(missing_ok=True)
            modified = self._modified(digest)
            if modified is None or modified >= before:
                return False
            obstore.delete(self._store, _key(digest))
            return True
        path = self._root / _key(digest)
        aside = path.with_name(path.name + _GONE)
        with self._moving:
            aside.unlink(missing_ok=True)
            try:
                if path.stat().st_mtime >= before.timestamp():
                    return False
                path.rename(aside)
            except FileNotFoundError:
                return False
            if aside.stat().st_mtime >= before.timestamp():
                aside.rename(path)
                return False
            aside.unlink()
        return True

    def _renew(self, digest: str) -> bool:
        """Whether the object is there; if so it is as young as if it were stored now, so that no collection takes it
        before its digest is written anywhere."""
        if self._root is not None:
            try:
                os.utime(self._root / _key(digest))
            except FileNotFoundError:
                return False
            return True
        modified = self._modified(digest)
        return modified is not None and datetime.now(UTC) - modified < _YOUNG

    def _modified(self, digest: str) -> datetime | None:
        try:
            return obstore.head(self._store, _key(digest))["last_modified"]
        except FileNotFoundError:
            return None

    def _fetch(self, digest: str, local: Path) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        data = self.get(digest)
        handle, temporary = tempfile.mkstemp(dir=local.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(local)

    def _room(self, size: int) -> None:
        if self._root is not None and shutil.disk_usage(self._root).free < size + _RESERVE:
            raise NoSpace(
                f"no room for {size:,} bytes in {self._root}",
                hint="Free some space; nothing was written, nothing is lost.",
            )

    def _sync(self, digest: str) -> None:
        """A local object is on disk before its digest is written anywhere."""
        if self._root is None:
            return
        path = self._root / _key(digest)
        for target in (path, path.parent):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:]}"


def _missing(digest: str) -> NotFound:
    return NotFound(f"object {digest[:12]} is not in the store", hint="Restore it from a backup or a remote.")


def _corrupt(digest: str) -> CorruptObject:
    return CorruptObject(
        f"object {digest[:12]} does not hold the bytes that its digest says",
        hint="The disk or a program changed it. Restore it from a backup or a remote.",
    )
