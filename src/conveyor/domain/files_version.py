"""A version of a dataset of files: an immutable tree of paths, named by a number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FilesVersion:
    """`root` is the digest of the tree's topmost node. `removed` is set when the version was removed: its number is
    not given to another, its files may be gone."""

    project: str
    name: str
    version: int
    root: str
    files: int
    bytes: int
    created: datetime
    parent: int | None = None
    added: int = 0  # files, against the parent
    changed: int = 0
    deleted: int = 0
    stored: int = 0  # bytes that the store grew by
    reason: str = ""
    by: str = ""
    removed: datetime | None = None

    @property
    def dataset(self) -> str:
        return f"{self.project}/{self.name}"

    @property
    def id(self) -> str:
        return f"{self.dataset}@v{self.version}"
