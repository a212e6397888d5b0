"""Bare repositories over the installed git: what was pushed, and source trees out of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conveyor.effects.files import sync_directory, write_if_changed
from conveyor.errors import Conflict, InputRejected, NotFound, Unavailable

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_ZERO = "0" * 40
_CONFIG = {
    "http.receivepack": "true",
    "http.uploadpack": "true",
    "receive.fsckObjects": "true",
    "transfer.hideRefs": "refs/conveyor",
    "core.fsync": "committed",
    "gc.auto": "0",
}


@dataclass(frozen=True, slots=True)
class CommitInfo:
    sha: str
    author: str
    subject: str
    time: datetime


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


def tree_id(path: Path, sha: str) -> str:
    """Content address of the commit's files: equal trees need no new build."""
    return _git(path, "rev-parse", "--verify", f"{_checked(sha)}^{{tree}}").decode().strip()


def export(path: Path, sha: str, destination: Path) -> str:
    """The commit's files as a folder, whole or not at all; returns the tree id. An existing folder is kept."""
    tree = tree_id(path, sha)
    if destination.is_dir():
        return tree
    destination.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        temp.chmod(0o755)
        with subprocess.Popen(
            ["git", "-C", str(path), "archive", "--format=tar", sha], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as archive:
            unpacked = subprocess.run(
                ["tar", "-x", "-C", str(temp)], stdin=archive.stdout, capture_output=True, check=False
            )
            said = archive.stderr.read() if archive.stderr else b""
        if archive.returncode or unpacked.returncode:
            reason = (said + unpacked.stderr).decode(errors="replace").strip()
            raise Unavailable(f"commit {sha[:12]} could not be unpacked: {reason}", hint="Check the free disk space.")
        _publish(temp, destination)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return tree


def read_file(path: Path, sha: str, file: str) -> bytes:
    """One file of a commit; NotFound when the commit does not have it."""
    return _git(path, "cat-file", "blob", f"{_checked(sha)}:{file}", missing=f"{file} in commit {sha[:12]}")


def commit_info(path: Path, sha: str) -> CommitInfo:
    fields = "%H%x00%an%x00%s%x00%ct"
    raw = _git(path, "show", "-s", f"--format={fields}", _checked(sha), missing=f"commit {sha[:12]}")
    full, author, subject, seconds = raw.decode(errors="replace").strip().split("\0")
    return CommitInfo(full, author, subject, datetime.fromtimestamp(int(seconds), UTC))


def _publish(temp: Path, destination: Path) -> None:
    try:
        temp.rename(destination)
    except OSError as problem:
        if not destination.is_dir():
            raise Conflict(f"{destination} could not be put in place: {problem}", hint="Remove it.") from problem
    sync_directory(destination.parent)


def _hook(message_url: str) -> str:
    url = shlex.quote(message_url.rstrip("/"))
    return f"""#!/bin/sh
# Tells the pusher where to look; what happens is decided by the control plane, which reads the refs.
url={url}
while read -r old new ref; do
  case "$new" in
    {_ZERO}) echo "Conveyor: $ref is gone" ;;
    *) echo "Conveyor: $url/$new" ;;
  esac
done
exit 0
"""


def _checked(sha: str) -> str:
    if not _SHA.fullmatch(sha):
        raise InputRejected(f'"{sha}" is not a full commit id', hint="Give all 40 digits.")
    return sha


def _git(path: Path | None, *arguments: str, missing: str = "the commit") -> bytes:
    where = ["-C", str(path)] if path is not None else []
    try:
        done = subprocess.run(["git", *where, *arguments], capture_output=True, check=False, env=environment())
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
