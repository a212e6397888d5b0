"""What a step's key made, told beside the objects: whoever shares the store finds it, machines and working folders."""

from __future__ import annotations

import msgspec

from conveyor.domain import wire
from conveyor.domain.plan import note_of
from conveyor.domain.state import CachedStep
from conveyor.stores.collections import STEP_CACHE
from conveyor.stores.objects import Objects
from conveyor.stores.records import Transaction


def write(objects: Objects, done: CachedStep) -> None:
    objects.note(note_of(done.key), wire.to_json(done))


def read(objects: Objects, key: str) -> CachedStep | None:
    """None also where a crash left half a note."""
    raw = objects.noted(note_of(key))
    if not raw:
        return None
    try:
        return wire.from_json(raw, CachedStep)
    except msgspec.DecodeError:
        return None


def cached(tx: Transaction, objects: Objects, key: str, *, shared: bool) -> CachedStep | None:
    """What was made under a key, where all of it is there. Of notes (`shared`) only those that a control plane wrote:
    what a working folder made may go into no release."""
    found = tx.get(STEP_CACHE, key)
    if found is None and shared:
        found = read(objects, key)
        if found is not None and not found.run:
            found = None
    whole = found is not None and all(objects.keep(digest) for digest in found.outputs.values())
    return found if whole else None
