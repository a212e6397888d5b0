"""Folders as dictionaries, and the short ways to add and read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from conveyor.domain.files_version import FilesVersion
from conveyor.stores.data import walk
from conveyor.stores.data.add import Added, add
from conveyor.stores.data.checkout import content
from conveyor.stores.data.order import Order, sources_of
from conveyor.stores.data.store import DataStore


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Makes the folder hold these files and no others; what is right already is not touched."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
        if path.is_file() and str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(store: DataStore, name: str, *paths: Path, at: str = "") -> Added:
    sources = sources_of(store.folders, "shop", name, [str(path) for path in paths], at)
    return add(store, Order("shop", name, sources))


def stored(store: DataStore, version: FilesVersion) -> dict[str, bytes]:
    """What a version has, read from the store alone."""
    root = bytes.fromhex(version.root)
    entries = walk.entries(root, store.reader)
    return {os.fsdecode(entry.path): b"".join(content(store, entry)) for entry in entries}
