"""How predictions become versions of a dataset: which parts are made one, what may go, which versions stay. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from conveyor.domain.dataset import Part

MOST_ROWS = 500_000
"""A part of so many rows is never written again."""
_LOGGED = "logged until "


def folded(rows: Sequence[int], new: int) -> int:
    """How many of the last parts are made one with `new` rows.

    Each that is no larger than what it joins, as a counter carries: a row is written anew at most once for each
    doubling, and there are no more parts than doublings, and full ones.
    """
    count, total = 0, new
    for size in reversed(rows):
        if size > total or size + total > MOST_ROWS:
            break
        total += size
        count += 1
    return count


def source(logged: datetime) -> str:
    """What a part says of itself: when the newest of its predictions was made. Event times may be of any age."""
    return _LOGGED + logged.isoformat()


def logged(part: Part) -> datetime | None:
    return datetime.fromisoformat(part.source.removeprefix(_LOGGED)) if part.source.startswith(_LOGGED) else None


def kept(parts: Iterable[Part], keep: timedelta | None, now: datetime) -> tuple[Part, ...]:
    """Without parts all of whose predictions are older than `keep`."""
    if keep is None:
        return tuple(parts)
    return tuple(part for part in parts if (at := logged(part)) is None or at >= now - keep)


def surplus(versions: Iterable[tuple[int, datetime]], now: datetime) -> list[int]:
    """Numbers of versions that may go: of the last hour all stay, of the last day the last of each hour, and before
    that the last of each day."""
    gone: list[int] = []
    taken: set[datetime] = set()
    for number, created in sorted(versions, reverse=True):
        age = now - created
        if age < timedelta(hours=1):
            continue
        hour = created.replace(minute=0, second=0, microsecond=0)
        slot = hour if age < timedelta(days=1) else hour.replace(hour=0)
        if slot in taken:
            gone.append(number)
        taken.add(slot)
    return gone
