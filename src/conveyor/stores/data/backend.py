"""The storage seam: whole values under keys. Few verbs, no domain; one conformance suite runs on every backend.

Keys are `/`-separated words of letters, digits, `.`, `-` and `_`. Values are immutable by convention, except for the
few that `put` replaces. Errors: NotFound for a key that is not there, NoSpace, and Unavailable when the other side
does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

Bytes: TypeAlias = bytes | bytearray | memoryview


class Item(NamedTuple):
    """A stored value's key, size in bytes, and when it was written (seconds since the epoch)."""

    key: str
    size: int
    modified: float


class Backend(Protocol):
    @property
    def url(self) -> str:
        """Where it is, as a person would write it."""

    def put(self, key: str, parts: Sequence[Bytes]) -> None:
        """Writes the parts as one value, durable when it returns; readers see the old value or the new one."""

    def take(self, key: str, size: int, pieces: Iterable[Bytes]) -> None:
        """Like `put`, of pieces that are `size` bytes together, each used before the next one is asked for. Nothing is
        written where they raise."""

    def create(self, key: str, value: bytes) -> bool:
        """Like `put`, only where there is no value yet: True for exactly one of any number of concurrent callers."""

    def get(self, key: str) -> bytes: ...

    def pieces(self, key: str) -> Iterator[Bytes]:
        """The value in pieces; each is valid until the next one is asked for."""

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Bytes]:
        """One part for each (offset, length); shorter than asked for where the value ends early."""

    def list(self, prefix: str) -> Iterator[Item]:
        """Everything whose key starts with `prefix`, a folder that ends with `/`; in no particular order."""

    def head(self, key: str) -> Item | None:
        """What `list` would tell of one key, None when it is not there."""

    def delete(self, key: str) -> None:
        """Does nothing when it is not there."""
