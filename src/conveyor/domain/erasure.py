"""Erasures: that a subject's rows were taken out of a dataset, kept without saying who the subject was. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ErasedKeys:
    """What ingest needs to know such rows again: keyed digests of the values of one column."""

    column: str
    salt: str  # 32 bytes in hexadecimal, the same for all erasures of a dataset
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TouchedModel:
    """A model version that was trained on the rows, or may have been.

    `exact`: the counts are of rows in the very ranges that it was trained on and judged by.
    """

    id: str
    status: str
    exact: bool
    training: int = 0
    holdout: int = 0

    @property
    def touched(self) -> bool:
        return not self.exact or self.training + self.holdout > 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """The tombstone. `objects` are the digests of bytes that held the rows; they go once nothing uses them."""

    id: str
    dataset: str
    column: str
    salt: str
    digest: str  # of the key's value, under the salt
    at: datetime
    by: str
    why: str = ""
    rows: int = 0  # of the newest version that had some
    versions: tuple[int, ...] = ()
    quarantined: int = 0
    originals: tuple[str, ...] = ()  # files whose original bytes are gone with it
    unread: tuple[str, ...] = ()  # refused files that could not be looked into
    objects: tuple[str, ...] = ()
    models: tuple[TouchedModel, ...] = ()
    runs: tuple[str, ...] = ()  # trainings that were under way on such a version
    lifted: str = ""  # since when, by whom and why such rows may come again


@dataclass(frozen=True, slots=True)
class ErasureView:
    """What an erasure did, or with `dry_run` would do. `freed` of the `condemned` objects are gone already."""

    erasure: Erasure
    dry_run: bool
    known: bool  # the same subject was erased before
    waiting: int = 0  # files that are not read yet
    condemned: int = 0
    freed: int = 0


def keys(erasures: Iterable[Erasure]) -> tuple[ErasedKeys, ...]:
    """By column and salt; those that were lifted hold nothing back."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for each in erasures:
        if each.lifted:
            continue
        found.setdefault((each.column, each.salt), {})[each.digest] = None
    return tuple(ErasedKeys(column, salt, tuple(digests)) for (column, salt), digests in found.items())
