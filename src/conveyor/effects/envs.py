"""Environments of projects: one folder for each content of a lock file, built by uv."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
import urllib.parse
from pathlib import Path

import uv
from blake3 import blake3

from conveyor import __version__

COMPLETE = ".complete"
_FILES = ("uv.lock", "requirements.txt", "pyproject.toml")


def key(tree: Path) -> str:
    """Digest of all that an environment depends on: what the tree declares, the Python, this Conveyor."""
    hasher = blake3(f"{sys.version}\0{__version__}\0{origin()}\0".encode())
    for name in _declared(tree):
        hasher.update(name.encode() + b"\0" + (tree / name).read_bytes() + b"\0")
    return hasher.hexdigest()[:24]


def command(target: Path, tree: Path) -> tuple[str, ...]:
    """Builds the environment at `target`, a folder named by its key; does nothing when it is there.

    `.complete` is written last: a build that was cut off is begun anew.
    """
    binary, folder, source = (shlex.quote(str(part)) for part in (uv.find_uv_bin(), target, tree))
    python = f"{folder}/bin/python"
    lines = [
        "set -e",
        f"if [ -e {folder}/{COMPLETE} ]; then echo 'environment is there already'; exit 0; fi",
        f"rm -rf {folder}",
        f"{binary} venv --quiet --python {shlex.quote(sys.executable)} {folder}",
        f"cd {source}",
    ]
    declared = _declared(tree)
    install = f"{binary} pip install --python {python}"
    if "uv.lock" in declared:
        lines.append(f"UV_PROJECT_ENVIRONMENT={folder} {binary} sync --frozen --inexact --no-install-project")
    elif "requirements.txt" in declared:
        lines.append(f"{install} -r requirements.txt")
    elif "pyproject.toml" in declared:
        lines.append(f"{install} -r pyproject.toml")
    lines += [f"{install} {shlex.quote(origin())}", f"touch {folder}/{COMPLETE}"]
    return ("/bin/sh", "-c", "\n".join(lines))


def origin() -> str:
    """Where this Conveyor came from, so that projects get the same: a folder, or the released version."""
    try:
        text = importlib.metadata.distribution("conveyor").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    found = urllib.parse.urlsplit(json.loads(text)["url"]) if text else None
    if found is not None and found.scheme == "file":
        return urllib.parse.unquote(found.path)
    return f"conveyor=={__version__}"


def _declared(tree: Path) -> list[str]:
    """A lock file says all; without one, the requirements do."""
    present = [name for name in _FILES if (tree / name).is_file()]
    return present if present[:1] != ["requirements.txt"] else present[:1]
