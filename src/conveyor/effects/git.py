"""Bare repositories over the installed git: what was pushed, and source trees out of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conveyor.effects.files import write_if_changed
from conveyor.errors import InputRejected, NotFound, Unavailable

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_ZERO = "0" * 40
_CONFIG = {
    "http.receivepack": "true",
    "http.uploadpack": "true",
    "receive.fsckObjects": "true",
    "transfer.hideRefs": "refs/conveyor",
    "core.fsync": "committed",
    "core.logAllRefUpdates": "always",
    "gc.auto": "0",
}


@dataclass(frozen=True, slots=True)
class CommitInfo:
    sha: str
    author: str
    subject: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What a name such as `main:web` stands for. `content` of blobs only."""

    id: str
    type: str  # blob | tree | commit | tag
    content: bytes = b""


def ensure_repo(path: Path, message_url: str) -> None:
    """A bare repository that takes pushes; idempotent. The pusher is told `<message_url>/<new sha>` for each ref."""
    if not (path / "HEAD").is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            _git(None, "init", "--bare", "-q", "-b", "main", str(temp))
            temp.rename(path)
        except OSError:
            shutil.rmtree(temp, ignore_errors=True)
            if not (path / "HEAD").is_file():
                raise
    wanted = path / "conveyor-config"
    lines = "".join(f"{key}={value}\n" for key, value in _CONFIG.items())
    if not wanted.is_file() or wanted.read_text() != lines:
        for key, value in _CONFIG.items():
            _git(path, "config", key, value)
        write_if_changed(wanted, lines.encode())
    hook = path / "hooks" / "post-receive"
    write_if_changed(hook, _hook(message_url).encode(), mode=0o755)
    hook.chmod(0o755)


def heads(path: Path) -> dict[str, str]:
    """`refs/heads/...` -> commit. One short git process; compare `state` first when asking often."""
    listing = _git(path, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads").decode()
    return {ref: sha for sha, _, ref in (line.partition(" ") for line in listing.splitlines())}


def state(path: Path) -> tuple[int, ...]:
    """Changes whenever a branch does: modification times of the folders and the file that hold branches."""
    branches = path / "refs" / "heads"
    folders = [Path(found) for found, _, _ in os.walk(branches)]
    files = [file for folder in folders for file in folder.iterdir() if file.is_file()]
    packed = path / "packed-refs"
    return tuple(p.stat().st_mtime_ns for p in (*sorted(folders), *sorted(files), packed) if p.exists())


def moves(path: Path, branch: str, offset: int) -> tuple[list[str], int]:
    """(commits that the branch came to since that byte of its log, in their order; how long the log is).

    Git writes the log with the branch, so that no push is lost to whoever looks late. A log that is shorter than
    `offset` is another one: the branch was deleted and made anew.
    """
    try:
        with (path / "logs" / "refs" / "heads" / branch).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < offset:
                return [], size
            file.seek(offset)
            raw = file.read(size - offset)
    except (FileNotFoundError, NotADirectoryError):
        return [], 0
    whole = raw[: raw.rfind(b"\n") + 1]
    return [line.split(b" ", 2)[1].decode() for line in whole.splitlines()], offset + len(whole)


def lookup(path: Path, names: Sequence[str]) -> list[Found | None]:
    """What each name stands for, by one short process whatever their number."""
    if any("\n" in name for name in names):
        raise InputRejected("a name in a repository must be one line", hint="Mend the path in conveyor.toml.")
    asked = "".join(f"{name}\n" for name in names).encode()
    raw = _git(path, "cat-file", "--batch", given=asked)
    found: list[Found | None] = []
    at = 0
    for _ in names:
        end = raw.index(b"\n", at)
        words = raw[at:end].split(b" ")
        at = end + 1
        if len(words) != 3 or not words[2].isdigit():
            found.append(None)
            continue
        size = int(words[2])
        kind = words[1].decode()
        found.append(Found(words[0].decode(), kind, raw[at : at + size] if kind == "blob" else b""))
        at += size + 1
    return found


def tracked(path: Path, prefix: str) -> dict[str, str]:
    """Name below `prefix` (such as "refs/conveyor/remote/") -> commit."""
    listing = _git(path, "for-each-ref", "--format=%(objectname) %(refname)", prefix).decode()
    pairs = (line.partition(" ") for line in listing.splitlines())
    return {ref.removeprefix(prefix): sha for sha, _, ref in pairs}


def update_refs(path: Path, commands: Sequence[str]) -> None:
    """All of them or none: lines such as `update <ref> <new>` and `delete <ref> <old>`."""
    if commands:
        _git(path, "update-ref", "--stdin", given="".join(f"{line}\n" for line in commands).encode())


def read_file(path: Path, sha: str, file: str) -> bytes:
    """One file of a commit; NotFound when the commit does not have it."""
    return _git(path, "cat-file", "blob", f"{_checked(sha)}:{file}", missing=f"{file} in commit {sha[:12]}")


def commit_info(path: Path, sha: str) -> CommitInfo:
    fields = "%H%x00%an%x00%s%x00%ct"
    raw = _git(path, "show", "-s", f"--format={fields}", _checked(sha), missing=f"commit {sha[:12]}")
    full, author, subject, seconds = raw.decode(errors="replace").strip().split("\0")
    return CommitInfo(full, author, subject, datetime.fromtimestamp(int(seconds), UTC))


def _hook(message_url: str) -> str:
    url = shlex.quote(message_url.rstrip("/"))
    return f"""#!/bin/sh
# Tells the pusher where to look; what happens is decided by the control plane, which reads the refs.
url={url}
while read -r old new ref; do
  case "$new $ref" in
    {_ZERO}*) echo "Conveyor: $ref is gone" ;;
    *" refs/heads/"*) echo "Conveyor: $url/$new" ;;
    *) echo "Conveyor: $ref is kept; only branches are built" ;;
  esac
done
exit 0
"""


def _checked(sha: str) -> str:
    if not _SHA.fullmatch(sha):
        raise InputRejected(f'"{sha}" is not a full commit id', hint="Give all 40 digits.")
    return sha


def _git(path: Path | None, *arguments: str, missing: str = "the commit", given: bytes = b"") -> bytes:
    where = ["-C", str(path)] if path is not None else []
    command = ["git", *where, *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, env=environment())
    except FileNotFoundError as problem:
        raise Unavailable("git is not installed", hint="Install git.") from problem
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    if path is None or not path.is_dir():
        raise Unavailable(f"git {arguments[0]} failed: {said}", hint="See the message of git.")
    raise NotFound(f"no {missing}: {said}", hint="Was it pushed?")


def environment(**more: str) -> dict[str, str]:
    """For git: nothing of the surrounding repository or of the user's configuration steers it."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
    return {**kept, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", **more}
