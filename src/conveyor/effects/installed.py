"""Which Conveyor is installed: by its content, because a version's number may stay while its files change."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

import conveyor

STAMP = "CONVEYOR_STAMP"
"""The variable that a control plane carries in its environment: the stamp of what it was started from."""
_FILES = {".py", ".toml", ".html", ".css", ".js"}


def stamp() -> str:
    """The version, and a digest of all files of the package."""
    root = Path(conveyor.__file__).parent
    hasher = blake3()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _FILES):
        hasher.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{conveyor.__version__}+{hasher.hexdigest()[:10]}"
