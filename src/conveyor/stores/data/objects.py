"""An object store as a backend: memory, S3, GCS, Azure, whatever obstore opens by URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore, from_url

from conveyor.errors import NotFound, Unavailable
from conveyor.stores.data.backend import Bytes, Item
from conveyor.stores.data.local import missing


class ObjectBackend:
    """A put is whole or not at all, and durable, by the promise of the store."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url

    @classmethod
    def at(cls, url: str) -> ObjectBackend:
        """By URL; keys and endpoint of S3 come from the environment, as its own tools have it."""
        return cls(from_url(url), url)

    @property
    def url(self) -> str:
        return self._url

    def put(self, key: str, parts: Sequence[Bytes]) -> None:
        with self._told(key):
            obstore.put(self._store, key, b"".join(parts), use_multipart=False)

    def take(self, key: str, size: int, pieces: Iterable[Bytes]) -> None:
        self.put(key, [bytes(piece) for piece in pieces])

    def create(self, key: str, value: bytes) -> bool:
        with self._told(key):
            try:
                obstore.put(self._store, key, value, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def get(self, key: str) -> bytes:
        with self._told(key):
            return bytes(obstore.get(self._store, key).bytes())

    def pieces(self, key: str) -> Iterator[Bytes]:
        yield self.get(key)

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Bytes]:
        if not spans:
            return []
        starts, lengths = zip(*spans, strict=True)
        try:
            with self._told(key):
                parts = obstore.get_ranges(self._store, key, starts=starts, lengths=lengths)
        except BaseException as error:
            # Behind the end of an object stores answer with an error or not at all, and obstore may panic.
            if not isinstance(error, Unavailable) and type(error).__name__ != "PanicException":
                raise
            item = self.head(key)
            if item is None or item.size >= max(start + length for start, length in spans):
                raise
            whole = memoryview(self.get(key))  # it ends early: stores differ in what they say of that
            return [whole[start : start + length] for start, length in spans]
        return [memoryview(part) for part in parts]

    def list(self, prefix: str) -> Iterator[Item]:
        with self._told(prefix):
            for page in obstore.list(self._store, prefix.rstrip("/") or None):
                for meta in page:
                    yield Item(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def head(self, key: str) -> Item | None:
        try:
            with self._told(key):
                meta = obstore.head(self._store, key)
        except NotFound:
            return None
        return Item(key, meta["size"], meta["last_modified"].timestamp())

    def delete(self, key: str) -> None:
        try:
            with self._told(key):
                obstore.delete(self._store, key)
        except NotFound:
            return

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise missing(key, self._url) from None
        except (BaseError, OSError) as error:
            said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise Unavailable(
                f"{self._url} did not answer for {key}: {said}",
                hint="Look at its address, at its keys and whether it runs; what was done so far is kept.",
            ) from error
