"""The controller of datasets of files: takes note of the versions that `conveyor data add` made, and tells of them.

The store of files is the truth; a record here is what trainings, lineage and the status refer to. The store is looked
at, not told by the command: what was added while the control plane was down is seen like everything else.
"""

from __future__ import annotations

from conveyor.delivery.lookup import Builds, latest_data
from conveyor.delivery.table_desk import resolve
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.files_version import FilesVersion
from conveyor.domain.reference import parse
from conveyor.domain.release import Build
from conveyor.domain.source import Source
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import DATASET_VERSIONS
from conveyor.stores.data.versions import Versions
from conveyor.stores.records import Transaction

_EVERY, _FAR = 0.5, 5.0  # seconds between looks: at a folder, at a store behind a URL
_AT_ONCE = 200  # versions in one turn


class Files:
    name = "files"

    def __init__(self, context: Context, versions: Versions) -> None:
        self._context = context
        self._versions = versions
        self._builds = Builds(context)
        self._seen: dict[tuple[str, str], int] = {}
        self._wait = _FAR if context.settings.objects_url else _EVERY

    def turn(self) -> float:
        more = False
        for build in self._builds():
            for data in build.config.data.values():
                if data.kind == "files":
                    more |= self._look(build.project, data.name)
        return 0.0 if more else self._wait

    def find(self, tx: Transaction, build: Build, one: Source) -> DatasetVersion | None:
        """The version that an input means now; None where there is none."""
        if not one.which:
            return latest_data(tx, build.project, one.name)
        reference = parse(one.key)
        try:
            if build.config.data[one.name].kind != "files":
                return resolve(tx, build.project, reference)
            found = self._versions.resolve(build.project, reference)
        except NotFound:
            return None
        return tx.get(DATASET_VERSIONS, f"{found.dataset}@{found.version}")

    def _look(self, project: str, name: str) -> bool:
        """Takes note of the versions since the last look, in their order; True while more wait for the next turn."""
        newest = self._versions.newest(project, name)
        if newest == self._seen.get((project, name), 0):
            return False
        with self._context.records.read() as tx:
            before = latest_data(tx, project, name)
        known = max(self._seen.get((project, name), 0), before.version if before else 0)
        until = min(newest, known + _AT_ONCE)
        made, touched = list[DatasetVersion](), before.touched if before else 0
        for number in range(known + 1, until + 1):
            found = self._versions.get(project, name, number)
            touched += found.added + found.changed + found.deleted
            if found.removed is None:
                made.append(version_of(found, touched))
        if made:
            self._take(made, touched - (before.touched if before else 0), last=until == newest)
        self._seen[project, name] = until
        return until < newest

    def _take(self, made: list[DatasetVersion], touched: int, *, last: bool) -> None:
        """One event for all of them: whoever waits for files wants the newest."""
        newest = made[-1]
        about = {"version": newest.version, "kind": "files", "rows": newest.rows, "new_rows": touched}
        more = {"bytes": newest.bytes, "reason": newest.reason}
        with self._context.transaction() as tx:
            for version in made:
                tx.put(DATASET_VERSIONS, version)
            if last:
                subject = f"data/{newest.dataset}"
                tx.append(self._context.event("data.version_created", subject, newest.project, **about, **more))


def version_of(found: FilesVersion, touched: int) -> DatasetVersion:
    return DatasetVersion(
        project=found.project,
        name=found.name,
        version=found.version,
        parent=found.parent,
        manifest="",
        rows=found.files,
        bytes=found.bytes,
        schema={},
        created=found.created,
        reason=found.reason,
        root=found.root,
        touched=touched,
    )
