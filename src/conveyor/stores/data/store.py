"""The store of datasets of files: chunks, trees and versions over one backend, and what a machine keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import LeaseLost
from conveyor.stores.data import lock
from conveyor.stores.data.backend import Backend
from conveyor.stores.data.chunks import Chunks, digest_of
from conveyor.stores.data.index import Index
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.pack import FOLDER, key_of
from conveyor.stores.data.versions import Versions
from conveyor.stores.data.walk import TreeReader

CONDEMNED = "condemned"
_ASK = 16  # packs that are asked for one by one; more are listed


class DataStore:
    """`cache` is a folder of this machine's: the index of chunks, locks, states of working folders. Deleting it costs
    time only."""

    def __init__(self, backend: Backend, cache: Path) -> None:
        self.backend = backend
        self.cache = cache
        self.versions = Versions(backend)
        self._chunks: Chunks | None = None
        self._reader: TreeReader | None = None

    @property
    def chunks(self) -> Chunks:
        """Opened when it is first needed: a log needs no index."""
        if self._chunks is None:
            self._chunks = Chunks(self.backend, Index(self._index))
        return self._chunks

    @property
    def indexed(self) -> bool:
        """Whether this machine has an index of it: the next use of one that it has not looks at all packs."""
        return self._chunks is not None or self._index.exists()

    @property
    def _index(self) -> Path:
        return self.cache / "index" / f"{digest_of(self.backend.url.encode()).hex()[:16]}.db"

    @property
    def reader(self) -> TreeReader:
        if self._reader is None:
            self._reader = TreeReader(self.chunks)
        return self._reader

    @property
    def folders(self) -> Path:
        """Where the states of working folders are."""
        return self.cache / "folders"

    @contextmanager
    def writing(self, project: str, name: str, waits: Callable[[str], None] = lambda who: None) -> Iterator[None]:
        """One writer of a dataset at a time, on this machine."""
        with lock.held(self.cache / "locks" / project / f"{name}.lock", waits):
            yield

    @contextmanager
    def gate(self, *, shared: bool) -> Iterator[None]:
        """Passed by writers together when they commit, and by gc alone when it condemns packs; held briefly."""
        local = isinstance(self.backend, LocalBackend)
        place = Path(self.backend.url) if local else self.cache / "locks"
        with lock.held(place / "gate.lock", shared=shared):
            yield

    def commit(self, version: FilesVersion, used: set[bytes]) -> bool:
        """Creates the version's document, when the packs that it relies on are there to stay. False when its number is
        taken; LeaseLost when gc has condemned or deleted such a pack: then the work is to be done again."""
        with self.gate(shared=True):
            lost = (used & self.condemned()) | self._gone(used)
            if lost:
                self.chunks.index.forget(lost)
                raise LeaseLost(
                    "what was stored before was deleted meanwhile", hint="Try again; it is stored anew then."
                )
            return self.versions.create(version)

    def _gone(self, names: set[bytes]) -> set[bytes]:
        """Packs that were relied on, and that are not there any more whatever the index says."""
        if len(names) <= _ASK:
            return {name for name in names if self.backend.head(key_of(name)) is None}
        there = {item.key for item in self.backend.list(FOLDER)}
        return {name for name in names if key_of(name) not in there}

    def condemned(self) -> set[bytes]:
        """Packs that gc is about to delete: nothing may rely on them any more."""
        if self.backend.head(CONDEMNED) is None:
            return set()
        lines = self.backend.get(CONDEMNED).decode().splitlines()
        return {bytes.fromhex(line.split()[0]) for line in lines if line}

    def close(self) -> None:
        if self._chunks is not None:
            self._chunks.index.close()
