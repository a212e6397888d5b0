"""Decides what becomes of a pack: kept, deleted, or its living chunks written into a new one. Says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

_REWRITE_BELOW = 0.7  # share of a pack's bytes in use, under which it is written anew
_SMALL = 1024 * 1024  # bytes
_GATHER = 32  # so many small packs are worth gathering into one


class Fate(StrEnum):
    KEEP = "keep"
    DELETE = "delete"
    REWRITE = "rewrite"


@dataclass(frozen=True, slots=True)
class PackUse:
    """A pack as gc finds it: its size, and the bytes of chunks that a version needs (`live`) and that none does."""

    name: str
    bytes: int
    live: int
    dead: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class PackVerdict:
    pack: PackUse
    fate: Fate
    reason: str


def judge(packs: Sequence[PackUse], grace: timedelta) -> list[PackVerdict]:
    """A young pack may belong to an addition that is under way: it is kept whatever is in it."""
    small = [pack for pack in packs if pack.age >= grace and pack.live and pack.bytes < _SMALL]
    gather = {pack.name for pack in small} if len(small) >= _GATHER else set()
    return [_judge(pack, grace, pack.name in gather) for pack in packs]


def _judge(pack: PackUse, grace: timedelta, gather: bool) -> PackVerdict:
    total = pack.live + pack.dead
    share = pack.live / total if total else 0.0
    if pack.age < grace:
        return PackVerdict(pack, Fate.KEEP, f"younger than the grace time, {share:.0%} in use")
    if not pack.live:
        return PackVerdict(pack, Fate.DELETE, "no version needs anything in it")
    if share < _REWRITE_BELOW:
        return PackVerdict(pack, Fate.REWRITE, f"only {share:.0%} in use: that part is written into a new pack")
    if gather:
        return PackVerdict(pack, Fate.REWRITE, "small: gathered with others into one pack")
    return PackVerdict(pack, Fate.KEEP, f"{share:.0%} in use")
