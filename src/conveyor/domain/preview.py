"""Previews: what a branch's own environment is called, and how it differs from those that users are on. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b

from conveyor.domain.project import RolloutConfig

PREFIX = "preview-"
_LONGEST = 40  # of the whole name: it is one label of a host name, and part of process and database names
_DIGITS = 6
_NAME = 62  # PostgreSQL cuts names after 63 bytes
_DRAIN = timedelta(seconds=1)


def is_preview(name: str) -> bool:
    """By the name alone: `config/check.py` keeps it from declared environments."""
    return name.startswith(PREFIX)


def names(branch: str) -> tuple[str, str]:
    """What a branch's preview is called, and what if another branch has that name: `preview-<branch>`, DNS-safe."""
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-") or "branch"
    digest = blake2b(branch.encode(), digest_size=_DIGITS // 2).hexdigest()
    room = _LONGEST - len(PREFIX)
    sure = f"{PREFIX}{slug[: room - _DIGITS - 1].rstrip('-')}-{digest}"
    return (f"{PREFIX}{slug}" if len(slug) <= room else sure), sure


def brisk(rollout: RolloutConfig) -> RolloutConfig:
    """A preview's rollout: nobody depends on it, so there is no canary, and the next push need not wait."""
    return replace(rollout, steps=(100,), hold=timedelta(0), watch=timedelta(0), drain=min(rollout.drain, _DRAIN))


def own_url(url: str, name: str) -> str | None:
    """A database beside the one at `url`, on the same server; None where that is not known to work."""
    scheme, found, rest = url.partition("://")
    server, _, path = rest.partition("/")
    database, question, query = path.partition("?")
    if not found or not scheme.startswith("postgres") or not database:
        return None
    suffix = re.sub(r"[^a-z0-9]+", "_", name.lower())
    return f"{scheme}://{server}/{database[: _NAME - len(suffix)]}_{suffix}{question}{query}"
