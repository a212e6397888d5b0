"""Where datasets of files are kept: in `.conveyor/data`, or beside the objects where those are behind a URL."""

from __future__ import annotations

import os
from pathlib import Path

from conveyor.stores.data.backend import Backend
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.store import DataStore


def open_store(home: Path, objects_url: str = "") -> DataStore:
    """The store of a `.conveyor`; it is made by the first addition."""
    data = home / "data"
    found = backend(f"{objects_url.rstrip('/')}/data") if objects_url else LocalBackend(data)
    return DataStore(found, data / "cache")


def backend(url: str) -> Backend:
    """A folder's path, or a URL: file://, s3://, gs://, az://, memory://."""
    if "://" not in url or url.startswith("file://"):
        return LocalBackend(Path(os.path.abspath(Path(url.removeprefix("file://")).expanduser())))
    from conveyor.stores.data.objects import ObjectBackend  # a local store does without it

    return ObjectBackend.at(url)
