"""Lineage: what came of a file, and what a model version came of, as a walk over links between records. Pure.

    file or rows ─► dataset version ─► ... later versions hold it too
         └────────► model version ─► release
                         └─► predictions, by number and time

A model version came of a file when the file's rows lie in the stretch of event time that it was trained or judged on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

ALWAYS = "always"
"""The span of what has no event time, or has no bounds."""
_MOST_MONTHS = 240


class Kind(StrEnum):
    ARRIVAL = "arrival"
    DATA = "data"
    MODEL = "model"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Link:
    """From a place by which it is looked up, to a node; `span` is the event time that it holds for."""

    id: str
    source: str
    target: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """How many predictions a model version answered in closed windows, and when."""

    id: str
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """`id` begins with its kind; `said` is one line about it, `figures` what a program wants to know."""

    id: str
    kind: Kind
    name: str
    said: str
    at: datetime | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lineage:
    """`nodes` in the order of the walk, the root first; `links` are pairs of ids, cause before effect."""

    nodes: tuple[Node, ...]
    links: tuple[tuple[str, str], ...]
    truncated: bool = False

    def of(self, kind: Kind) -> list[Node]:
        return [node for node in self.nodes if node.kind is kind]


Neighbours = Callable[[Node], Iterable[Node]]


def walk(roots: Iterable[Node], before: Neighbours, after: Neighbours, most: int) -> Lineage:
    """From the roots along effects to their end, and along causes to theirs; each node once, `most` in all."""
    nodes: dict[str, Node] = {}
    links: dict[tuple[str, str], None] = {}
    truncated = False
    for neighbours, forward in ((after, True), (before, False)):
        todo, seen = list(roots), set[str]()
        while todo:
            node = todo.pop(0)
            if node.id in seen:
                continue
            seen.add(node.id)
            nodes.setdefault(node.id, node)
            for other in neighbours(node):
                if other.id not in nodes and len(nodes) + len(todo) >= most:
                    truncated = True
                    continue
                links[(node.id, other.id) if forward else (other.id, node.id)] = None
                todo.append(other)
    kept = tuple(pair for pair in links if pair[0] in nodes and pair[1] in nodes)
    return Lineage(tuple(nodes.values()), kept, truncated)


def months(first: datetime | None, last: datetime | None) -> list[str]:
    """The months of a stretch of event time: by them what overlaps is found without looking at all there is."""
    if first is None or last is None or last < first:
        return [ALWAYS]
    found = list(_months(first, last))
    return found if len(found) <= _MOST_MONTHS else [ALWAYS]


def _months(first: datetime, last: datetime) -> Iterator[str]:
    at = first.replace(day=1)
    while (at.year, at.month) <= (last.year, last.month):
        yield f"{at:%Y-%m}"
        at = (at + timedelta(days=32)).replace(day=1)


def overlaps(first: datetime | None, last: datetime | None, after: datetime, until: datetime) -> bool:
    """Whether a part's event times touch (after, until]; one without times is taken to."""
    return first is None or last is None or (last > after and first <= until)
