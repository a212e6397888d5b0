"""Environments of projects: one folder for each content of a lock file, built by uv."""

from __future__ import annotations

import importlib.metadata
import json
import posixpath
import re
import shlex
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uv
from blake3 import blake3

from conveyor import __version__
from conveyor.effects import publish

COMPLETE = ".complete"
FILES = ("uv.lock", "requirements.txt", "pyproject.toml")
_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCAL = re.compile(
    r"^\s*(?:-e|--editable)|^\s*\.{0,2}/|@ *file:|\bpath *=|\bworkspace *= *true|(?:editable|directory) *= *\"(?!\.\")",
    re.MULTILINE,
)

Read = Callable[[str], bytes | None]
"""The content of a file by its path from a folder; None where the repository has none."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a folder asks for, and how much of the repository counts with it because it installs from there."""

    files: dict[str, bytes]
    local: str = ""  # "" | "folder" | "repository"


def declared(read: Read) -> Declared:
    """A lock file says all; without one, the requirements do, with the files that they include."""
    present = {name: content for name in FILES if (content := read(name)) is not None}
    if "uv.lock" not in present and "requirements.txt" in present:
        present = _with_included(read, "requirements.txt")
    text = b"\n".join(present.values()).decode(errors="replace")
    if not _LOCAL.search(text):
        return Declared(present)
    return Declared(present, "repository" if "../" in text else "folder")


def key(asked: Declared, folder: str, repository: str) -> str:
    """Digest of all that an environment depends on: what is declared, the Python, this Conveyor.

    `folder` and `repository` are content addresses; one counts only where something is installed from there.
    """
    local = {"folder": folder, "repository": repository}.get(asked.local, "")
    hasher = blake3(f"{sys.version}\0{__version__}\0{origin()}\0{local}\0".encode())
    for name, content in asked.files.items():
        hasher.update(name.encode() + b"\0" + content + b"\0")
    return hasher.hexdigest()[:24]


def ready(target: Path) -> bool:
    return (target / COMPLETE).is_file()


def command(target: Path, tree: Path, scratch: Path) -> str:
    """A shell script that builds the environment of `tree` in `scratch` and renames it to `target`.

    Its programs find their Python beside themselves, wherever the folder is moved to.
    """
    binary, folder, source = (shlex.quote(str(part)) for part in (uv.find_uv_bin(), scratch, tree))
    lines = [
        "set -e",
        f"rm -rf {folder}",
        f"{binary} venv --quiet --relocatable --python {shlex.quote(sys.executable)} {folder}",
        f"cd {source}",
    ]
    install = f"{binary} pip install --python {folder}/bin/python"
    if (tree / "uv.lock").is_file():
        lines.append(
            f"UV_PROJECT_ENVIRONMENT={folder} {binary} sync --frozen --inexact --no-install-project --no-editable"
        )
    elif (tree / "requirements.txt").is_file():
        lines.append(f"{install} -r requirements.txt")
    elif (tree / "pyproject.toml").is_file():
        lines.append(f"{install} -r pyproject.toml")
    lines += [
        f"{install} {shlex.quote(origin())}",
        f"touch {folder}/{COMPLETE}",
        "cd /",
        publishing(scratch, target),
    ]
    return "\n".join(lines)


def publishing(folder: Path, place: Path) -> str:
    """The shell command that renames a finished folder to its place, or drops it where the place is taken."""
    words = [sys.executable, "-I", "-S", str(Path(publish.__file__).resolve()), str(folder), str(place)]
    return " ".join(shlex.quote(word) for word in words)


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


def _with_included(read: Read, first: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        content = None if name in found else read(name)
        if content is None:
            continue
        found[name] = content
        beside = posixpath.dirname(name)
        waiting += [
            posixpath.normpath(posixpath.join(beside, other))
            for other in _INCLUDED.findall(content.decode(errors="replace"))
            if "://" not in other
        ]
    return found
