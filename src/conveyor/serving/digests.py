"""Whether an artifact's files are the bytes that the signed provenance names: asked before anything reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from blake3 import blake3

from conveyor.errors import CorruptObject, InputRejected, NotFound


def parsed(words: Iterable[str]) -> dict[str, str]:
    """`model.onnx=12ab...` as a name and its BLAKE3 digest."""
    found = {}
    for word in words:
        name, equals, digest = word.partition("=")
        if not equals or len(digest) != 64 or "/" in name:
            raise InputRejected(f"{word!r} is no FILE=BLAKE3", hint="Write it as model.onnx=<64 hex digits>.")
        found[name] = digest
    return found


def verify(directory: Path, expected: Mapping[str, str]) -> None:
    """Raises NotFound or CorruptObject."""
    for name, digest in expected.items():
        path = directory / name
        if not path.is_file():
            raise NotFound(f"no {name} in {directory}", hint="Verify the version: conveyor model verify")
        hasher = blake3()
        hasher.update_mmap(path)
        if hasher.hexdigest() != digest:
            raise CorruptObject(
                f"{name} is not what was signed: its digest is {hasher.hexdigest()[:12]}, not {digest[:12]}",
                hint="Somebody or something changed it. Verify the version: conveyor model verify",
            )
