"""Profiles of versions that lost rows: measured anew, for what was told of them may have told of the rows that went."""

from __future__ import annotations

from conveyor.domain.dataset import DatasetProfile, Manifest, Part
from conveyor.sdk import sketch
from conveyor.sdk.describe import measure, merged, profile
from conveyor.stores.objects import Objects

_MOST = 5_000_000  # rows of older versions that are measured; it is the newest one's profile that people look at


class Profiles:
    """Of versions from old to new: one that goes on where the one before ended costs the rows that it adds."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._parts: tuple[Part, ...] = ()  # of the version before
        self._sketches = sketch.to_bytes({})
        self._left = _MOST

    def of(self, manifest: Manifest, *, always: bool) -> DatasetProfile | None:
        """None where it would cost more rows than are left, unless it is wanted `always`."""
        parts = tuple(part for part in manifest.parts if self._objects.has(part.digest))
        if not parts:
            return None
        goes_on = parts[: len(self._parts)] == self._parts
        rest = parts[len(self._parts) :] if goes_on else parts
        rows = sum(part.rows for part in rest)
        if rows > self._left and not always:
            return None
        self._left -= rows
        before = (sketch.from_bytes(self._sketches) or {}) if goes_on else {}
        found = merged([before, measure([self._objects.path(part.digest) for part in rest])])
        self._parts, self._sketches = parts, sketch.to_bytes(found)
        return profile(found)
