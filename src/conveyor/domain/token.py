"""Tokens of the API and what their roles may do. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """In rising order; each may do what those before it may."""

    VIEWER = "viewer"  # reads
    DEPLOYER = "deployer"  # pushes, deploys, rolls back, sends data
    ADMIN = "admin"  # secrets, tokens, erasure

    def covers(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Token:
    """Of the token itself only a digest is kept: it is long and random, so no guess finds it from that."""

    digest: str
    name: str
    role: Role
    created: datetime
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and now >= self.expires


@dataclass(frozen=True, slots=True)
class TokenView:
    name: str
    role: Role
    created: datetime
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """Shown once, to the one who made it."""

    name: str
    role: Role
    token: str
    expires: datetime | None = None


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_SEARCHED = ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/", "/v1/tracked/")
"""Where a search is a POST that only reads."""


def needed(method: str, path: str, service: str = "") -> Role:
    """The role that a request needs. `service` is git's query parameter."""
    if path.startswith("/git/"):
        pushes = "git-receive-pack" in (path.rpartition("/")[2], service)
        return Role.DEPLOYER if pushes else Role.VIEWER
    if path.startswith(_SEARCHED) and path.endswith("/search"):
        return Role.VIEWER
    parts = path.strip("/").split("/")
    if (
        parts[:2] == ["v1", "projects"]
        and parts[3:4] == ["data"]
        and (parts[-1] == "erase" or parts[-3:-2] + parts[-1:] == ["erasures", "lift"])
    ):
        return Role.ADMIN
    if parts[:2] in (["v1", "tokens"], ["v1", "collect"], ["v1", "trusted"]) or (
        parts[:2] == ["v1", "projects"] and "secrets" in parts[3:4] + parts[5:6]
    ):
        return Role.ADMIN
    return Role.VIEWER if method in ("GET", "HEAD") else Role.DEPLOYER
