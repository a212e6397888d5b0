"""Fetches: rows that Conveyor asks for itself, from a cursor on. When the next one is due, and what one says. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

CHUNK = 100_000
"""Rows of one file of a fetch."""
MOST_ROWS = 1_000_000
"""After about as many a fetch ends; the next one goes on at once."""
_BACKOFF_MIN, _BACKOFF_MAX = timedelta(seconds=10), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class FetchState:
    """How far a dataset's source was read. The cursor moves in the transaction that takes over what was read."""

    id: str  # project/dataset
    cursor: Any = None  # as the source gave it; None before the first fetch
    started: datetime | None = None  # the last fetch; before the first one, when the source was first seen
    fetches: int = 0
    more: bool = False  # the last one ended early
    failures: int = 0  # in a row


@dataclass(frozen=True, slots=True)
class FetchSpec:
    """`function`, or `query` with the names of the variable that holds the database's URL and of the cursor column."""

    cursor: Any = None
    function: str = ""
    query: str = ""
    url: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """`OUT/fetch.json`; the files are named in the order in which they were read."""

    rows: int
    files: tuple[str, ...]
    cursor: Any
    more: bool = False


Next = Callable[[datetime], datetime]
"""The first tick of a schedule after a time."""


def due(state: FetchState, every: timedelta | None, tick: Next | None, now: datetime) -> bool:
    """Whether to fetch now. A first fetch by `every` is due at once; missed ticks of a schedule count as one."""
    if state.started is None:
        return every is not None
    if state.failures:
        wait: timedelta = min(_BACKOFF_MIN * 2 ** min(state.failures - 1, 10), _BACKOFF_MAX)
        return now - state.started >= wait
    if state.more:
        return True
    if every is not None and (state.fetches == 0 or now - state.started >= every):
        return True
    return tick is not None and tick(state.started) <= now


def started(state: FetchState, now: datetime) -> FetchState:
    return replace(state, started=now, fetches=state.fetches + 1, more=False)


def ended(state: FetchState, report: FetchReport) -> FetchState:
    return replace(state, cursor=report.cursor, more=report.more, failures=0)


def failed(state: FetchState) -> FetchState:
    return replace(state, failures=state.failures + 1)
