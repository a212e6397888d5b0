"""Manifests as trees: what comes back is what was put, and a new version stores about its change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.dataset import Manifest, Part
from conveyor.errors import CorruptObject
from conveyor.stores import manifests
from conveyor.stores.objects import Objects, digest_bytes

START = datetime(2026, 1, 1, tzinfo=UTC)


def part(number: int) -> Part:
    at = START + timedelta(days=number)
    digest = digest_bytes(b"%d" % number)
    return Part(
        digest, 1000, 40_000, at, at + timedelta(hours=23), f"day-{number}.parquet", digest_bytes(b"f%d" % number)
    )


def some(count: int, start: int = 0) -> tuple[Part, ...]:
    return tuple(part(start + number) for number in range(count))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=700), st.integers(0, 700))
def test_what_comes_back_is_what_was_put_whatever_came_before(numbers: list[int], cut: int) -> None:
    kept: dict[str, bytes] = {}

    def keep(raw: bytes) -> str:
        kept[digest_bytes(raw)] = raw
        return digest_bytes(raw)

    def read(digest: str) -> tuple[Part, ...]:
        page = wire.from_json(kept[digest], manifests.Page)
        return (*page.parts, *(each for below in page.pages for each in read(below)))

    parts = tuple(map(part, numbers))
    whole = manifests.write(Manifest(parts), keep)
    assert read(whole) == parts
    assert manifests.write(Manifest(parts), keep) == whole  # whichever way it came about
    assert read(manifests.write(Manifest(parts[:cut]), keep)) == parts[:cut]


def test_a_version_costs_its_change(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path / "objects"), tmp_path / "cache")
    parts = some(10_000)
    first = manifests.put(objects, Manifest(parts))

    def grown(after: tuple[Part, ...]) -> int:
        before = {each.digest for each in objects.stored()}
        digest = manifests.put(objects, Manifest(after), first)
        assert manifests.read(objects, digest) == Manifest(after)
        return sum(each.bytes for each in objects.stored() if each.digest not in before)

    flat = len(wire.to_json(Manifest(parts)))
    assert flat > 2_500_000
    for after in (
        (*parts, *some(1, 10_000)),
        (*parts[:5000], replace(parts[5000], rows=999), *parts[5001:]),
        (*parts[:5000], *parts[5001:]),
    ):
        assert grown(after) < 0.03 * flat
    told = dict(manifests.walk(objects, first, set()))
    assert sum(len(page.parts) for page in told.values()) == 10_000
    assert not dict(manifests.walk(objects, first, set(told)))


def test_one_that_was_written_flat_is_read_and_followed(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path / "objects"), tmp_path / "cache")
    parts = some(500)
    flat = objects.put(wire.to_json(Manifest(parts)))
    assert manifests.read(objects, flat) == Manifest(parts)
    after = Manifest((*parts, *some(3, 500)))
    assert manifests.read(objects, manifests.put(objects, after, flat)) == after
    few = manifests.put(objects, Manifest(parts[:20]))  # one page is as it was always written
    assert objects.get(few) == wire.to_json(Manifest(parts[:20]))
    objects = Objects(str(tmp_path / "objects"), tmp_path / "cache")
    (tmp_path / "objects" / flat[:2] / flat[2:]).write_bytes(b"{}")
    with pytest.raises(CorruptObject):
        manifests.read(objects, flat)
