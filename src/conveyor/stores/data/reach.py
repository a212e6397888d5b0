"""What a version needs: every chunk of its files, its recipes and its tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conveyor.errors import ConveyorError, CorruptObject, NotFound
from conveyor.stores.data import node as nodes
from conveyor.stores.data import recipe
from conveyor.stores.data.node import CUT
from conveyor.stores.data.walk import TreeReader

_AT_ONCE = 64

Broken = Callable[[bytes, ConveyorError], None]


def reach(roots: Iterable[bytes], source: TreeReader, seen: set[bytes], broken: Broken | None = None) -> None:
    """Adds to `seen` the digests of all chunks that these trees need. What is in it already is not looked into again:
    versions share most of their nodes.

    A node that cannot be read raises, or is told to `broken`; what is below it is then unknown.
    """
    waiting = [root for root in dict.fromkeys(roots) if root not in seen]
    seen.update(waiting)
    recipes: list[bytes] = []
    while waiting:
        batch, waiting = waiting[-_AT_ONCE:], waiting[:-_AT_ONCE]
        for raw in _read(batch, source, broken).values():
            if nodes.level_of(raw):
                fresh = [ref.digest for ref in nodes.decode_inner(raw) if ref.digest not in seen]
                seen.update(fresh)
                waiting += fresh
                continue
            for entry in nodes.decode_leaf(raw):
                if entry.kind & CUT and entry.digest not in seen:
                    recipes.append(entry.digest)
                if entry.size:
                    seen.add(entry.digest)
    while recipes:
        batch, recipes = recipes[-_AT_ONCE:], recipes[:-_AT_ONCE]
        for raw in _read(batch, source, broken).values():
            level, pieces = recipe.decode(raw)
            if level:
                recipes += [piece.digest for piece in pieces if piece.digest not in seen]
            seen.update(piece.digest for piece in pieces)


def _read(digests: list[bytes], source: TreeReader, broken: Broken | None) -> dict[bytes, bytes]:
    try:
        return source.many(digests)
    except (NotFound, CorruptObject):
        if broken is None:
            raise
    found = {}
    for digest in digests:
        try:
            found[digest] = source.get(digest)
        except (NotFound, CorruptObject) as error:
            broken(digest, error)
    return found
