"""`data push` and `data pull`, and the remotes that a store knows."""

from __future__ import annotations

import json
import os

from conveyor.cli.files import opening
from conveyor.cli.files.progress import Progress
from conveyor.cli.output import say, say_json
from conveyor.cli.text import many, size
from conveyor.domain.reference import parse
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.transfer import Transferred, transfer


def push(name: str, *, to: str = "", renamed: str = "", project: str = "", as_json: bool = False) -> None:
    dataset = opening.find(name, project)
    renamed = parse(renamed).name if renamed else ""
    url = _url(dataset.store, to)
    there = opening.remote(dataset.store, url)
    progress = Progress(quiet=as_json)
    try:
        done = transfer(dataset.store, there, dataset.project, dataset.name, renamed=renamed, progress=progress.of)
    finally:
        progress.done()
    _remember(dataset.store, url)
    _tell(done, f"to {url}", as_json)


def pull(name: str, *, source: str = "", project: str = "", as_json: bool = False) -> None:
    store = opening.open_store()
    url = _url(store, source)
    there = opening.remote(store, url)
    reference = parse(name)
    wanted = project or reference.project
    known = [each for each in there.versions.datasets() if each[1] == reference.name and wanted in ("", each[0])]
    if not known:
        raise NotFound(f"{url} has no dataset {name}", hint="It has: " + _names(there))
    if len(known) > 1:
        raise Conflict(f"several projects have a dataset {name} in {url}", hint="Say which: " + _names(there))
    progress = Progress(quiet=as_json)
    try:
        with store.writing(*known[0], progress.waits):
            done = transfer(there, store, *known[0], progress=progress.of)
    finally:
        progress.done()
    _remember(store, url)
    _tell(done, f"from {url}", as_json)


def known(store: DataStore) -> list[str]:
    """URLs that were pushed to or pulled from, the one used last first."""
    try:
        kept = json.loads((store.cache.parent / "remotes.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [str(url) for url in kept]


def _url(store: DataStore, said: str) -> str:
    if said:
        return said if "://" in said else os.path.abspath(os.path.expanduser(said))  # noqa: PTH100, PTH111
    urls = known(store)
    if not urls:
        raise InputRejected(
            "no remote is known yet", hint="Name one, a folder or a URL such as s3://bucket/prefix; it is remembered."
        )
    return urls[0]


def _remember(store: DataStore, url: str) -> None:
    urls = known(store)
    if urls[:1] == [url]:
        return
    path = store.cache.parent / "remotes.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    temp.write_text(json.dumps([url, *(each for each in urls if each != url)]))
    temp.replace(path)


def _names(store: DataStore) -> str:
    return ", ".join(f"{project}/{name}" for project, name in store.versions.datasets()) or "none"


def _tell(done: Transferred, where: str, as_json: bool) -> None:
    if as_json:
        say_json(done)
        return
    if not done.versions and not done.bytes:
        say(f"{done.name}: nothing to send {where}; both sides are the same")
        return
    parts = [many(len(done.versions), "version"), many(done.packs, "pack")]
    if done.chunks:
        parts.append(many(done.chunks, "chunk"))
    say(f"{done.name}: {', '.join(parts)}, {size(done.bytes)} {where}")
