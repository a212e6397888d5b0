"""What is remembered of a working folder between two additions: which files need not be read again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from conveyor.domain.files_version import FilesVersion
from conveyor.errors import NotFound
from conveyor.stores.data import state as states
from conveyor.stores.data.order import Order
from conveyor.stores.data.rows import Rows
from conveyor.stores.data.state import State
from conveyor.stores.data.store import DataStore


class Memory(NamedTuple):
    """`path` is where the state is kept, of the whole folder that the sources are, or lie in, or of all parts."""

    path: Path
    state: State | None

    @classmethod
    def of(cls, store: DataStore, wanted: Order) -> Memory:
        if all(source.prefix for source in wanted.sources):
            for path in states.listed(store.folders, wanted.project, wanted.name):
                state = states.load(path)
                if state is not None and _holds(state, wanted):
                    return cls(path, state)
        path = states.file_of(store.folders, wanted.project, wanted.name, wanted.sources)
        return cls(path, states.load(path))

    def trusted(self, store: DataStore, wanted: Order) -> State | None:
        """The state of the sources, when its content is in the store: when its version is there, not removed."""
        if self.state is None:
            return None
        try:
            version = store.versions.get(wanted.project, wanted.name, self.state.version)
        except NotFound:
            return None
        if version.removed is not None or version.root != self.state.root:
            return None
        return self.state if self.state.sources == wanted.sources else self.state.part(wanted.sources)

    def keep(
        self, wanted: Order, rows: Rows, version: FilesVersion, taken: int, parent: FilesVersion | None = None
    ) -> None:
        """The sources are now as in `version`, which was made from `parent`."""
        fresh = State(
            wanted.project,
            wanted.name,
            version.version,
            version.root,
            wanted.sources,
            len(rows.paths),
            b"\0".join(rows.paths),
            states.unsure(rows.stats, taken),
            rows.content(),
        )
        whole = any(not source.prefix for source in wanted.sources)
        if self.state is None or whole:
            states.save(self.path, fresh)
            return
        sources = self.state.sources
        if all(source.prefix for source in sources):
            others = [each for each in sources if not _covered(each.prefix, wanted)]
            sources = tuple(sorted((*others, *wanted.sources), key=lambda each: each.prefix.replace(b"/", b"\0")))
        elif self.state.version != (parent.version if parent else version.version):
            return  # the folder is behind: it is not as the new version has it
        states.save(self.path, self.state.with_part(fresh)._replace(sources=sources))


def _holds(state: State, wanted: Order) -> bool:
    """Whether the state is that of a folder that all sources lie in, each at its place."""
    whole = next((source.path for source in state.sources if not source.prefix), None)
    return whole is not None and all(source.path == whole + b"/" + source.prefix for source in wanted.sources)


def _covered(prefix: bytes, wanted: Order) -> bool:
    return any(prefix == each.prefix or prefix.startswith(each.prefix + b"/") for each in wanted.sources)
