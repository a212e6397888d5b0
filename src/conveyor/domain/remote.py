"""Repositories elsewhere that a project follows: a branch that moves there is a push here. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

PROJECT = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""What can name a project."""
SCHEMES = ("https", "http", "ssh", "git", "file")
ALL = ("*",)
_BRANCH = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_./*+-]*")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^:]+")
_LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Remote:
    """`webhook` and `login` are sealed: the secret that webhooks are signed with, and what the remote is asked with."""

    project: str
    url: str
    branches: tuple[str, ...]
    poll: timedelta
    created: datetime
    webhook: str
    login: str = ""
    asked: datetime | None = None  # by a webhook: fetch at once
    fetched: datetime | None = None
    error: str = ""  # of the fetches since the last one that succeeded


@dataclass(frozen=True, slots=True)
class RemoteView:
    """What may be told of a remote."""

    project: str
    url: str
    branches: tuple[str, ...]
    poll: timedelta
    fetched: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class NewRemote:
    """Told once, to the one who added it: `secret` is for the webhook's settings at the other end."""

    project: str
    url: str
    github: str
    gitlab: str
    secret: str


def view(remote: Remote) -> RemoteView:
    return RemoteView(remote.project, remote.url, remote.branches, remote.poll, remote.fetched, remote.error)


def wrong_url(url: str) -> str:
    """Why git must not be given this; empty when it may."""
    if not url.isprintable() or " " in url or url.startswith("-") or len(url) > 2000:
        return "is not the address of a repository"
    scheme, found, _ = url.partition("://")
    if found:
        return "" if scheme in SCHEMES else f"has a scheme that is none of {', '.join(SCHEMES)}"
    return "" if _SCP.fullmatch(url) else "is not the address of a repository"


def wrong_branch(branch: str) -> str:
    good = _BRANCH.fullmatch(branch) and branch.count("*") <= 1 and ".." not in branch
    return "" if good else "is not a branch, nor a pattern with one *"


def refspecs(branches: tuple[str, ...], into: str) -> tuple[str, ...]:
    return tuple(f"+refs/heads/{branch}:{into}{branch}" for branch in branches)


def wait(poll: timedelta, failures: int) -> timedelta:
    """Until the next fetch: twice as long after each failure in a row."""
    doubled: timedelta = poll * float(2 ** min(failures, 12))
    return min(doubled, max(poll, _LONGEST_WAIT))


def moves(tracked: dict[str, str], seen: dict[str, str], heads: dict[str, str], seen_under: str) -> list[str]:
    """Git's update commands for what moved at the remote since it was last looked at.

    A branch that did not move there stays as it is here, whatever was pushed to it directly. One that is gone there
    goes here too, unless it has moved on here.
    """
    commands = []
    for branch, commit in sorted(tracked.items()):
        if seen.get(branch) == commit:
            continue
        if heads.get(branch) != commit:
            commands.append(f"update refs/heads/{branch} {commit}")
        commands.append(f"update {seen_under}{branch} {commit}")
    for branch, commit in sorted(seen.items()):
        if branch not in tracked:
            commands.append(f"delete {seen_under}{branch}")
            if heads.get(branch) == commit:
                commands.append(f"delete refs/heads/{branch} {commit}")
    return commands
