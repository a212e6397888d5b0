"""Objects: bytes by their BLAKE3 digest, on local disk or any object store by URL, verified on every read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import obstore
from blake3 import blake3
from obstore.store import LocalStore, ObjectStore, from_url

from conveyor.errors import CorruptObject, NoSpace, NotFound

_RESERVE = 64 * 1024 * 1024  # bytes that are always left free on the disk


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
        self._store: ObjectStore
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._root, mkdir=True)
        else:
            self._store = from_url(url)

    def put(self, data: bytes) -> str:
        """Stores bytes; the same bytes are stored once."""
        digest = digest_bytes(data)
        if not self.has(digest):
            self._room(len(data))
            obstore.put(self._store, _key(digest), data)
            self._sync(digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's content; the file itself is left where it is."""
        digest = digest_file(path)
        if not self.has(digest):
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

    def delete(self, digest: str) -> None:
        if self.has(digest):
            obstore.delete(self._store, _key(digest))

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
