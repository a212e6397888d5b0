"""Writes chunks: the caller reads and hashes, a thread beside it looks up, compresses and writes packs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Container
from types import TracebackType

from conveyor.stores.data import pack as packs
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.chunks import Chunks
from conveyor.stores.data.compression import Compressor
from conveyor.stores.data.index import KnownPack

PACK_SIZE = 16 * 1024 * 1024  # bytes
_BATCH_SIZE = 4 * 1024 * 1024  # bytes
_BATCH_CHUNKS = 1000
_WAITING = 3  # batches between the two threads: what bounds the memory


class Writer:
    """Used as a context: what it was given is durable after `finish`, and nothing refers to it before that.

    `stored` and `written` count the bytes of new chunks, as stored and as they were given.
    """

    def __init__(self, chunks: Chunks, *, known: bool = True, without: Container[bytes] = ()) -> None:
        """`known=False` writes chunks that the store has too: their copies there are not to be relied on; nor are
        those in the packs `without` which it is to do."""
        self._chunks = chunks
        self._known = known
        self._without = without
        self._compress = Compressor()
        self._batch: list[tuple[bytes, Bytes]] = []
        self._batch_size = 0
        self._queue: queue.Queue[list[tuple[bytes, Bytes]] | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._pack: dict[bytes, tuple[bytes, Bytes, int]] = {}
        self._pack_size = 0
        self.own: set[bytes] = set()  # packs written here
        self._thread: threading.Thread | None = None
        self.used: set[bytes] = set()  # packs that have the chunks given
        self.stored = 0
        self.written = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            if error is not None and self._failure is None:
                self._failure = error  # nothing more is written
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def add(self, digest: bytes, raw: Bytes) -> None:
        self._batch.append((digest, raw))
        self._batch_size += len(raw)
        if self._batch_size >= _BATCH_SIZE or len(self._batch) >= _BATCH_CHUNKS:
            self._hand_over()

    def finish(self) -> None:
        """Everything given is durable when this returns, or this raises why it is not."""
        self._hand_over()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._raise()
        self._close_pack()

    def _hand_over(self) -> None:
        self._raise()
        if not self._batch:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="packs", daemon=True)
            self._thread.start()
        self._queue.put(self._batch)
        self._batch, self._batch_size = [], 0

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # drain, so that the other thread never waits for ever
            try:
                self._take(batch)
            except BaseException as error:
                self._failure = error
        self._chunks.index.close()

    def _take(self, batch: list[tuple[bytes, Bytes]]) -> None:
        fresh = {digest: raw for digest, raw in batch if digest not in self._pack}
        for digest, found in self._chunks.index.find(list(fresh), self._without).items():
            if self._known or found.pack in self.own:
                self.used.add(found.pack)
                del fresh[digest]
        for digest, raw in fresh.items():
            stored = self._compress(raw)
            self._pack[digest] = (digest, stored, len(raw))
            self._pack_size += len(stored)
            self.stored += len(stored)
            self.written += len(raw)
            if self._pack_size >= PACK_SIZE:
                self._close_pack()

    def _close_pack(self) -> None:
        if not self._pack:
            return
        pack = packs.assemble(list(self._pack.values()))
        self._chunks.backend.put(packs.key_of(pack.name), pack.parts)
        self._chunks.index.add(KnownPack(pack.name, pack.size, time.time()), pack.places)
        self.own.add(pack.name)
        self.used.add(pack.name)
        self._pack, self._pack_size = {}, 0
