"""`conveyor data status`: what changed in working folders. Loads nothing that it does not need: it is typed all day."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from conveyor.errors import NotFound
from conveyor.stores.data import state as states
from conveyor.stores.data.scan import show
from conveyor.stores.data.status import Status, status

_SHOWN = 10  # paths of each kind


def report(home: Path, names: Sequence[str] = (), *, as_json: bool = False, everything: bool = False) -> int:
    """Prints it; 1 where something changed since it was added or checked out, else 0."""
    folders = home / "data" / "cache" / "folders"
    found = [each for name in names or [""] for path in _listed(folders, name) if (each := status(path)) is not None]
    if not found and names:
        raise NotFound(
            f"no folder here is known to be {names[0]}",
            hint=f"`conveyor data add {names[0]} PATH` or `conveyor data checkout {names[0]}` makes one known.",
        )
    if as_json:
        _as_json(found)
    elif not found:
        _say("No folder here is a dataset yet. `conveyor data add NAME PATH` makes one.")
    for each in () if as_json else found:
        _tell(each, _newest(home, each), everything)
    return 0 if all(each.clean for each in found) else 1


def _listed(folders: Path, name: str) -> list[Path]:
    project, _, word = name.rpartition("/")
    return states.listed(folders, project, word)


def _tell(each: Status, newest: int, everything: bool) -> None:
    places = ", ".join(show(_relative(place)) for place in each.places[:3])
    more = f" and {len(each.places) - 3} more" if len(each.places) > 3 else ""
    if each.clean:
        _say(f"{each.name} v{each.version}: {each.files:,} files in {places}{more}, nothing changed")
    else:
        counts = ((each.added, "added"), (each.changed, "changed"), (each.deleted, "deleted"))
        told = ", ".join(f"{len(paths):,} {word}" for paths, word in counts if paths)
        _say(f"{each.name} v{each.version}: {told} of {each.files:,} files in {places}{more}")
        for paths, word in counts:
            shown = paths if everything else paths[:_SHOWN]
            for path in shown:
                _say(f"  {word:<8} {show(path)}")
            if len(paths) > len(shown):
                _say(f"  {word:<8} and {len(paths) - len(shown):,} more; --all shows them")
        _say(f"  `conveyor data add {each.name}` makes a version of it.")
    if newest > each.version:
        _say(f"  v{newest} is newer: `conveyor data checkout {each.name}` brings it here.")


def _newest(home: Path, each: Status) -> int:
    """By the hint in the local store; a store elsewhere is not asked, so that a status stays quick."""
    try:
        return int((home / "data" / "head" / each.project / each.name).read_bytes())
    except (OSError, ValueError):
        return 0


def _relative(place: bytes) -> bytes:
    here = os.fsencode(Path.cwd())
    return place[len(here) + 1 :] if place.startswith(here + b"/") else place


def _as_json(found: list[Status]) -> None:
    import json

    rows = [
        {
            "dataset": f"{each.project}/{each.name}",
            "version": each.version,
            "places": [show(place) for place in each.places],
            "files": each.files,
            "clean": each.clean,
            "added": [show(path) for path in each.added],
            "changed": [show(path) for path in each.changed],
            "deleted": [show(path) for path in each.deleted],
        }
        for each in found
    ]
    _say(json.dumps(rows))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
