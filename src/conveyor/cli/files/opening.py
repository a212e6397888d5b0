"""Which store and which dataset a command means. Works in this process on `.conveyor/`; no server need run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conveyor.cli.quick import find_home
from conveyor.domain.files_version import FilesVersion
from conveyor.domain.reference import Reference, parse
from conveyor.errors import Conflict, NotFound
from conveyor.stores.data.backend import Backend
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.store import DataStore

_DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of files by its full name, in its store. `reference` is what was said behind the @."""

    store: DataStore
    reference: Reference
    project: str
    name: str

    @property
    def version(self) -> FilesVersion:
        """The version that was referred to; NotFound where there is none."""
        return self.store.versions.resolve(self.project, self.reference)


def now() -> datetime:
    return datetime.now(UTC)


def open_store(home: Path | None = None) -> DataStore:
    """The store of the nearest `.conveyor`; it is made by the first addition."""
    home = home or find_home()
    url = _settings(home).get("objects_url") or ""
    data = home / "data"
    return DataStore(backend(f"{url.rstrip('/')}/data") if url else LocalBackend(data), data / "cache")


def backend(url: str) -> Backend:
    """A folder's path, or a URL: file://, s3://, gs://, az://, memory://."""
    if "://" not in url or url.startswith("file://"):
        return LocalBackend(Path(os.path.abspath(Path(url.removeprefix("file://")).expanduser())))  # noqa: PTH100
    from conveyor.stores.data.objects import ObjectBackend  # a local store does without it

    return ObjectBackend.at(url)


def remote(store: DataStore, url: str) -> DataStore:
    """Another store, with its index kept in the cache of this one."""
    return DataStore(backend(url), store.cache)


def find(text: str, project: str = "", *, make: bool = False) -> Dataset:
    """The dataset that `text` refers to. Without a project it is the one of that name, in whichever project it is.

    With `make` one that is not there yet is taken as the project's of this folder.
    """
    reference = parse(text)
    store = open_store()
    project = project or reference.project
    known = [each for each in store.versions.datasets() if each[1] == reference.name]
    if project:
        known = [each for each in known if each[0] == project]
    if len(known) > 1:
        names = ", ".join(f"{each[0]}/{each[1]}" for each in known)
        raise Conflict(f"several projects have a dataset {reference.name}", hint=f"Say which: {names}.")
    if known:
        return Dataset(store, reference, *known[0])
    if not make:
        others = ", ".join(name for _, name in store.versions.datasets()) or "none yet"
        tables = ", ".join(sorted(tables_here())) or "none"
        raise NotFound(
            f"there is no dataset of files {reference.name!r} in {store.backend.url}",
            hint=f"Datasets of files: {others}; tables: {tables}. `conveyor data add {reference.name} PATH` makes one "
            "of files.",
        )
    return Dataset(store, reference, project or _project_here() or _DEFAULT_PROJECT, reference.name)


def is_table(name: str) -> bool:
    """Whether a project here declares a table of this name, and no dataset of files has it."""
    reference = parse(name)
    if any(each == reference.name for _, each in open_store().versions.datasets()):
        return False
    if "CONVEYOR_URL" in os.environ:
        return True
    return reference.name in tables_here()


def tables_here() -> set[str]:
    """Those that projects declare, here and in the Conveyor of this folder."""
    return {*_declared_here(), *_declared_there()}


def _declared_here() -> Sequence[str]:
    """Tables of the nearest `conveyor.toml`."""
    return tuple(_config().get("data", ()))


def _declared_there() -> set[str]:
    """Tables of the projects that the Conveyor of this folder builds; it need not run."""
    home = find_home()
    if not (home / "settings.json").exists():
        return set()
    from conveyor.config.settings import load_settings  # all this only where a Conveyor was started
    from conveyor.delivery.lookup import latest_build
    from conveyor.stores.collections import PROJECTS
    from conveyor.stores.records import Records

    settings = load_settings(home)
    if not settings.database_url and not settings.database.exists():
        return set()
    records = Records(settings.database_url or f"sqlite:///{settings.database}", prepare=False)
    with records.read() as tx:
        builds = [latest_build(tx, project.name) for project in tx.find(PROJECTS, limit=1000)]
    return {name for build in builds if build for name in build.config.data}


def _project_here() -> str:
    return str(_config().get("project", {}).get("name", ""))


def _config() -> dict[str, Any]:
    """The nearest `conveyor.toml` from here upward, unread by the checks: only names are taken from it."""
    here = Path.cwd()
    found = next(
        (folder / "conveyor.toml" for folder in (here, *here.parents) if (folder / "conveyor.toml").is_file()), None
    )
    if found is None:
        return {}
    import tomllib

    try:
        return tomllib.loads(found.read_text())
    except (OSError, ValueError):
        return {}


def _settings(home: Path) -> dict[str, Any]:
    try:
        kept = json.loads((home / "settings.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
