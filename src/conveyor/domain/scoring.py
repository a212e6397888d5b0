"""Batch scoring: what a step of it is told, what it tells, and which parts each step has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.dataset import Part

STEP_ROWS = 1_000_000
"""A step has parts of about so many rows: what a crash costs at the most, and what is kept for the next scoring."""
SCORE, MODEL, REFUSED = "score", "model", "refused"
"""The columns of the result beside those that are taken over: null where `refused` says why there is none."""


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """`artifact` is a folder with `model.json` and the model; `keep` are columns that are taken over."""

    artifact: str
    model: str  # project/name@version
    paths: tuple[str, ...]
    keep: tuple[str, ...] = ()
    time: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreReport:
    rows: int
    refused: dict[str, int] = field(default_factory=dict)  # reason -> rows
    first: datetime | None = None
    last: datetime | None = None
    schema: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scoring:
    """What was started, or with a dry run would be: `run` is empty then."""

    run: str
    model: str
    dataset: str
    output: str
    rows: int
    parts: int
    steps: int


def groups(parts: Iterable[Part], most: int = STEP_ROWS) -> tuple[tuple[Part, ...], ...]:
    """In their order, as many together as have at most so many rows; a larger one by itself."""
    found: list[tuple[Part, ...]] = []
    rows = 0
    for part in parts:
        if found and rows + part.rows <= most:
            found[-1] = (*found[-1], part)
            rows += part.rows
        else:
            found.append((part,))
            rows = part.rows
    return tuple(found)
