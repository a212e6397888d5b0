"""Working folders: `data add`, `status`, `checkout`."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from pathlib import Path

from conveyor.cli.files import opening
from conveyor.cli.files.progress import Progress
from conveyor.cli.output import say, say_json
from conveyor.cli.text import many, size
from conveyor.errors import NotFound
from conveyor.stores.data import order, scan
from conveyor.stores.data import state as states
from conveyor.stores.data.add import Watch
from conveyor.stores.data.add import add as add_files
from conveyor.stores.data.checkout import checkout as check_out


def add(
    name: str,
    paths: Sequence[str],
    *,
    at: str = "",
    reason: str = "",
    project: str = "",
    new: bool = False,
    as_json: bool = False,
) -> None:
    dataset = opening.find(name, project, make=True, meant=new)
    sources = order.sources_of(dataset.store.folders, dataset.project, dataset.name, paths, at)
    progress = Progress(quiet=as_json)
    wanted = order.Order(dataset.project, dataset.name, sources, reason, _user())
    try:
        done = add_files(dataset.store, wanted, Watch(progress.seen, progress.read, progress.waits))
    finally:
        progress.done()
    version = done.version
    if as_json:
        say_json(done)
        return
    if not done.fresh:
        say(f"{dataset.name}: nothing changed since v{version.version} ({many(version.files, 'file')})")
        return
    if version.parent is None:
        say(f"{dataset.name} v{version.version}: {many(version.files, 'file')}, {size(version.bytes)}")
    else:
        parts = [
            f"{count:,} {word}"
            for count, word in ((version.added, "added"), (version.changed, "changed"), (version.deleted, "deleted"))
            if count
        ]
        say(f"{dataset.name} v{version.version}: {', '.join(parts)}; {many(version.files, 'file')}")
    say(f"The store grew by {size(version.stored)}.")


def _user() -> str:
    """Also where the process runs under a number that has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def checkout(name: str, *, to: str = "", force: bool = False, project: str = "", as_json: bool = False) -> None:
    dataset = opening.find(name, project)
    version = dataset.version
    target = Path(to) if to else _folder_of(dataset)
    progress = Progress(quiet=as_json)
    try:
        done = check_out(dataset.store, version, target, force=force, progress=progress.read)
    finally:
        progress.done()
    if as_json:
        say_json(done)
        return
    say(
        f"{target} is {dataset.name} v{version.version}: {many(done.written, 'file')} written ({size(done.bytes)}), "
        f"{done.deleted:,} deleted, {done.kept:,} as they were"
    )


def _folder_of(dataset: opening.Dataset) -> Path:
    """The working folder, where there is just one; else a folder of the dataset's name, here."""
    kept = [states.load(path) for path in states.listed(dataset.store.folders, dataset.project, dataset.name)]
    wholes = {source.path for state in kept if state for source in state.sources if not source.prefix}
    if len(wholes) > 1:
        places = ", ".join(sorted(map(scan.show, wholes)))
        raise NotFound(f"{dataset.name} has several folders: {places}", hint="Say which with --to FOLDER.")
    return Path(os.fsdecode(wholes.pop())) if wholes else Path(dataset.name)
