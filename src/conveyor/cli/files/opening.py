"""Which store and which dataset a command means. Works in this process on `.conveyor/`; no server need run."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.cli.quick import find_home
from conveyor.domain.families import model_of
from conveyor.domain.files_version import FilesVersion
from conveyor.domain.reference import Reference, parse
from conveyor.errors import Conflict, NotFound, Refused
from conveyor.stores.data.opening import backend
from conveyor.stores.data.opening import open_store as open_at
from conveyor.stores.data.store import DataStore

if TYPE_CHECKING:
    from conveyor.stores.records import Records

_DEFAULT_PROJECT = "default"
_NEAR = 0.8  # how alike two names are, by difflib, when one is taken for a slip


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
    return open_at(home, str(_settings(home).get("objects_url") or ""))


def remote(store: DataStore, url: str) -> DataStore:
    """Another store, with its index kept in the cache of this one."""
    return DataStore(backend(url), store.cache)


def find(text: str, project: str = "", *, make: bool = False, meant: bool = False) -> Dataset:
    """The dataset that `text` refers to. Without a project it is the one of that name, in whichever project it is.

    With `make` one that is not there yet is made: in the project that declares it, or that of this folder. A name that
    is almost one that is declared is refused, unless it is `meant`.
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
        if make and not project and known[0][0] == _DEFAULT_PROJECT:
            _refuse_elsewhere(reference.name)
        return Dataset(store, reference, *known[0])
    if not make:
        others = ", ".join(name for _, name in store.versions.datasets()) or "none yet"
        tables = ", ".join(sorted(tables_here())) or "none"
        raise NotFound(
            f"there is no dataset of files {reference.name!r} in {store.backend.url}",
            hint=f"Datasets of files: {others}; tables: {tables}. `conveyor data add {reference.name} PATH` makes one "
            "of files.",
        )
    declared = declared_here()
    owners = sorted({each.project for each in declared if each.name == reference.name})
    if len(owners) > 1 and not project:
        raise Conflict(
            f"several projects declare {reference.name}: {', '.join(owners)}", hint="Say which with --project."
        )
    if not owners and not meant:
        _refuse_near(reference.name, declared)
    project = project or (owners[0] if owners else "") or _project_here() or _DEFAULT_PROJECT
    return Dataset(store, reference, project, reference.name)


def _refuse_elsewhere(name: str) -> None:
    """What was there before a project declared it would go on to be added where no training looks."""
    owners = sorted(
        {each.project for each in declared_here() if (each.name, each.kind) == (name, "files")} - {_DEFAULT_PROJECT}
    )
    if owners:
        raise Conflict(
            f"{_DEFAULT_PROJECT}/{name} is there already, and the project {owners[0]} declares {name} too",
            hint=f"Say which: --project {owners[0]}, whose trainings see it, or --project {_DEFAULT_PROJECT}.",
        )


def _refuse_near(name: str, declared: Collection[Declared]) -> None:
    """A slip of the pen must not make a dataset of its own."""
    near = difflib.get_close_matches(name, sorted({each.name for each in declared}), n=1, cutoff=_NEAR)
    if near:
        raise Refused(
            f"there is no dataset {name!r} yet, and a project declares {near[0]!r}",
            hint=f"If you mean that one: conveyor data add {near[0]} ...; if a new one of files: add --new.",
        )


def is_table(name: str) -> bool:
    """Whether a project here declares a table of this name, or Conveyor makes it, and no dataset of files has it."""
    reference = parse(name)
    if model_of(reference.name):
        return True
    if any(each == reference.name for _, each in open_store().versions.datasets()):
        return False
    if "CONVEYOR_URL" in os.environ:
        return True
    return reference.name in tables_here()


def tables_here() -> set[str]:
    """Those that projects declare, here and in the Conveyor of this folder."""
    return {each.name for each in declared_here() if each.kind == "table"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A dataset of a `conveyor.toml`."""

    project: str
    name: str
    kind: str


def declared_here() -> set[Declared]:
    """The datasets that projects declare, here and in the Conveyor of this folder."""
    return {*_declared_here(), *_declared_there()}


def _declared_here() -> set[Declared]:
    """Those of the nearest `conveyor.toml`."""
    project, found = _project_here() or _DEFAULT_PROJECT, _config().get("data", {})
    sections = found.items() if isinstance(found, dict) else ()
    return {
        Declared(project, name, str(section.get("kind", "table")) if isinstance(section, dict) else "table")
        for name, section in sections
    }


def _declared_there() -> set[Declared]:
    """Those of the projects that the Conveyor of this folder builds; it need not run."""
    records = records_there()
    if records is None:
        return set()
    from conveyor.delivery.lookup import latest_build
    from conveyor.stores.collections import PROJECTS

    with closing(records), records.read() as tx:
        builds = [latest_build(tx, project.name) for project in tx.find(PROJECTS, limit=1000)]
    return {
        Declared(build.project, data.name, data.kind)
        for build in builds
        if build
        for data in build.config.data.values()
    }


def refuse_needed(dataset: Dataset, version: FilesVersion) -> None:
    """A version of the data behind a model that is live, or that a rollback may go back to, stays."""
    records = records_there()
    if records is None:
        return
    from conveyor.delivery import needs

    with closing(records), records.read() as tx:
        reasons = needs.of_data(tx, dataset.project, dataset.name, version.version)
    if reasons:
        raise Refused(
            f"version {version.version} of {dataset.name} cannot be removed: {'; '.join(reasons)}",
            hint="Release a model version that was trained on other data, and wait until this one is out of reach of "
            "a rollback.",
        )


def records_there() -> Records | None:
    """The records of the Conveyor of this folder, to read; None where none was ever started."""
    home = find_home()
    if not (home / "settings.json").exists():
        return None
    from conveyor.config.settings import load_settings  # all this only where a Conveyor was started
    from conveyor.stores.records import Records

    settings = load_settings(home)
    if not settings.database_url and not settings.database.exists():
        return None
    return Records(settings.database_url or f"sqlite:///{settings.database}", prepare=False)


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
