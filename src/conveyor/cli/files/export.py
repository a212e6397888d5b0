"""`data export`: a version as a tar archive, or one file of it, without a checkout."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Any

from conveyor.cli.files import opening
from conveyor.cli.output import say
from conveyor.cli.text import many
from conveyor.errors import Conflict, NotFound
from conveyor.stores.data import walk
from conveyor.stores.data.backend import Bytes
from conveyor.stores.data.checkout import content
from conveyor.stores.data.node import EXECUTABLE, LINK, Entry


def export(name: str, to: str, *, path: str = "", project: str = "") -> None:
    """To a file that is not there yet; `-` is the standard output."""
    dataset = opening.find(name, project)
    version = dataset.version
    root = bytes.fromhex(version.root)
    entry = walk.find(root, os.fsencode(path), dataset.store.reader) if path else None
    if path and entry is None:
        raise NotFound(f"{name} has no file {path}", hint=f"`conveyor data show {name}` lists its files.")
    with _output(to) as out:
        if entry is not None:
            for part in content(dataset.store, entry):
                out.write(part)
        else:
            with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
                for each in walk.entries(root, dataset.store.reader):
                    _pack(archive, dataset, each, int(version.created.timestamp()))
    if to != "-":
        say(f"{to}: {path or many(version.files, 'file')} of {dataset.name} v{version.version}")


def _pack(archive: tarfile.TarFile, dataset: opening.Dataset, entry: Entry, moment: int) -> None:
    info = tarfile.TarInfo(os.fsdecode(entry.path))
    info.mtime = moment
    info.mode = 0o755 if entry.kind & EXECUTABLE else 0o644
    if entry.kind & LINK:
        info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(b"".join(content(dataset.store, entry)))
        archive.addfile(info)
        return
    info.size = entry.size
    archive.addfile(info, _Stream(content(dataset.store, entry)) if entry.size else BytesIO())


class _Stream(RawIOBase):
    """Pieces as a file, for readers that ask for as much as they like."""

    def __init__(self, pieces: Iterator[Bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += bytes(piece)
        taken = self._held if size < 0 else self._held[:size]
        self._held = self._held[len(taken) :]
        return taken


@contextmanager
def _output(to: str) -> Iterator[IO[Any]]:
    """The file appears under its name when it is whole."""
    if to == "-":
        yield sys.stdout.buffer
        return
    target = Path(to)
    if target.exists():
        raise Conflict(f"{to} is there already", hint="Choose another name; nothing is overwritten.")
    temp = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temp.open("xb") as file:
            yield file
        temp.replace(target)
    finally:
        temp.unlink(missing_ok=True)
