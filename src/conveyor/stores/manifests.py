"""Manifests of tables as trees of pages: a new version stores the pages that changed, and shares the others.

A page is a JSON object: a leaf has `parts`, any other `pages`, the digests of those below it. Pages end behind an entry
whose checksum says so, so what is put in or taken out changes its own page and those above it. A manifest that fits
into one leaf is that leaf; this is also how all were written before, so there is one way to read them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from conveyor.domain import wire
from conveyor.domain.dataset import Manifest, Part
from conveyor.stores.objects import Objects, digest_bytes

T = TypeVar("T")

_MEAN, _MOST = 32, 128  # entries of a page


@dataclass(frozen=True, slots=True)
class Page:
    parts: tuple[Part, ...] = ()
    pages: tuple[str, ...] = ()


def read(objects: Objects, digest: str) -> Manifest:
    """The manifest whose topmost page has this digest."""
    return Manifest(tuple(part for page in _all(objects, digest) for part in page.parts))


def put(objects: Objects, manifest: Manifest, before: str = "") -> str:
    """Its digest. What it has in common with the manifest `before`, which is still in use, is not written again."""
    known = {digest for digest, _ in walk(objects, before, set())} if before else set[str]()

    def keep(raw: bytes) -> str:
        digest = digest_bytes(raw)
        return digest if digest in known else objects.put(raw)

    return write(manifest, keep)


def walk(objects: Objects, digest: str, apart: set[str]) -> Iterator[tuple[str, Page]]:
    """(digest, page) of all pages of a manifest, except those `apart` and what is below them; what is told is added to
    them. So pages that many versions share are looked at once.
    """
    if digest in apart:
        return
    apart.add(digest)
    page = _page(objects, digest)
    yield digest, page
    for below in page.pages:
        yield from walk(objects, below, apart)


def _all(objects: Objects, digest: str) -> Iterator[Page]:
    page = _page(objects, digest)
    yield page
    for below in page.pages:
        yield from _all(objects, below)


def _page(objects: Objects, digest: str) -> Page:
    return objects.parsed(digest, lambda raw: wire.from_json(raw, Page))


def write(manifest: Manifest, keep: Callable[[bytes], str]) -> str:
    """The digest of the topmost page; `keep` stores bytes and says their digest."""
    leaves = _cut(manifest.parts, lambda part: part.digest)
    level = [keep(wire.to_json(Manifest(parts))) for parts in leaves]
    while len(level) > 1:
        level = [keep(wire.to_json({"pages": pages})) for pages in _cut(level, lambda digest: digest)]
    return level[0]


def _cut(entries: Sequence[T], name: Callable[[T], str]) -> list[tuple[T, ...]]:
    """Pages of entries: at least one, and fewer than entries where there are several."""
    pages: list[tuple[T, ...]] = []
    start = 0
    for place, entry in enumerate(entries, start=1):
        ends = zlib.crc32(name(entry).encode()) % _MEAN == 0 and place - start > 1
        if ends or place - start == _MOST:
            pages.append(tuple(entries[start:place]))
            start = place
    if start < len(entries) or not pages:
        pages.append(tuple(entries[start:]))
    return pages
