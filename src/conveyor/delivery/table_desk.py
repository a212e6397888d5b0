"""What a client may ask of a dataset's versions as tables: which one a reference names, its parts, its tags."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from conveyor.delivery import arrivals
from conveyor.delivery.lookup import latest_build, latest_data, manifest_of
from conveyor.domain import requests
from conveyor.domain.dataset import DatasetVersion, objects_of
from conveyor.domain.project import DataConfig
from conveyor.domain.reference import Reference, is_tag, newest_at, parse
from conveyor.domain.state import DataTag, DataTagMove
from conveyor.domain.views import Message, TableView
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.collections import DATA_TAG_MOVES, DATA_TAGS, DATASET_VERSIONS
from conveyor.stores.records import Transaction


class TableDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def table(self, project: str, dataset: str, which: str) -> TableView:
        """`which` is what follows the @ of a reference."""
        context = self._context
        with context.records.read() as tx:
            config = self._config(tx, project, dataset)
            version = resolve(tx, project, parse(f"{dataset}@{which}"))
            tags = tx.find(DATA_TAGS, where={"dataset": version.dataset}, limit=1000)
        return TableView(
            version=version,
            manifest=manifest_of(context.objects, version),
            objects=context.settings.objects_url or str(context.settings.objects),
            time=config.time,
            key=config.key,
            tags=tuple(tag.name for tag in tags if tag.version == version.version),
        )

    def object(self, project: str, dataset: str, which: str, digest: str) -> Path:
        """A verified file with an object of that version; no other object is given out."""
        view = self.table(project, dataset, which)
        if digest not in objects_of(view.version, view.manifest):
            raise NotFound(f"{view.version.id} has no part {digest[:12]!r}", hint="Ask for its table: it names them.")
        return self._context.objects.path(digest)

    def tags(self, project: str, dataset: str) -> list[DataTag]:
        with self._context.records.read() as tx:
            self._config(tx, project, dataset)
            return tx.find(DATA_TAGS, where={"dataset": f"{project}/{dataset}"}, limit=1000, newest=False)

    def tag_moves(self, project: str, dataset: str, limit: int = 50) -> list[DataTagMove]:
        """The history of all tags of a dataset, newest first."""
        with self._context.records.read() as tx:
            self._config(tx, project, dataset)
            return tx.find(DATA_TAG_MOVES, where={"dataset": f"{project}/{dataset}"}, limit=limit)

    def tag(self, project: str, dataset: str, name: str, request: requests.TagVersion) -> Message:
        """Points a tag to a version, or with none removes it. Moving it to where it points already changes nothing."""
        if not is_tag(name):
            raise InputRejected(
                f"{name[:80]!r} cannot be a tag",
                hint="Letters, digits, . - _, a letter first; not `latest`, and not like a version (v12).",
            )
        subject, context = f"{project}/{dataset}", self._context
        with context.records.transaction() as tx:
            self._config(tx, project, dataset)
            found = tx.get(DATA_TAGS, f"{subject}@{name}")
            previous = found.version if found else None
            version = self._meant(tx, project, dataset, request.version)
            if version is None and found is None:
                raise NotFound(f"{subject} has no tag {name!r}", hint=f"See `conveyor data show {dataset}`.")
            if version == previous:
                return Message(f"{name} points to v{version} already")
            if version is None:
                tx.delete(DATA_TAGS, f"{subject}@{name}")
            else:
                tx.put(DATA_TAGS, DataTag(f"{subject}@{name}", subject, name, version))
            now = context.clock.now()
            move = DataTagMove(context.new_id(), subject, name, version, previous, request.reason, now)
            tx.put(DATA_TAG_MOVES, move)
            about = {"tag": name, "version": version, "previous": previous, "reason": request.reason}
            tx.append(context.event("data.tagged", f"data/{subject}", project, **about))
        was = f", before to v{previous}" if previous is not None else ""
        return Message(f"{name} is removed{was}" if version is None else f"{name} points to v{version}{was}")

    def _meant(self, tx: Transaction, project: str, dataset: str, which: str) -> int | None:
        return resolve(tx, project, parse(f"{dataset}@{which}")).version if which else None

    def _config(self, tx: Transaction, project: str, dataset: str) -> DataConfig:
        return arrivals.table_of(latest_build(tx, project), project, dataset)


def resolve(tx: Transaction, project: str, reference: Reference) -> DatasetVersion:
    """The version that a reference names. Raises NotFound with what there is."""
    subject = f"{project}/{reference.name}"
    newest = latest_data(tx, project, reference.name)
    if newest is None:
        raise NotFound(f"dataset {subject} has no version yet", hint=f"Add a file: conveyor data add {reference.name}")
    number: int | None = newest.version
    if reference.version is not None:
        number = reference.version
    elif reference.tag:
        tag = tx.get(DATA_TAGS, f"{subject}@{reference.tag}")
        number = tag.version if tag else None
    elif reference.moment is not None:
        number = newest_at(reference.moment, newest.version, lambda n: _created(tx, subject, n))
    found = tx.get(DATASET_VERSIONS, f"{subject}@{number}") if number is not None else None
    if found is None:
        hint = f"`conveyor data log {reference.name}` lists the versions up to v{newest.version}"
        known = tx.find(DATA_TAGS, where={"dataset": subject}, limit=20)
        tags = f"; tags are {', '.join(tag.name for tag in known)}" if known else "; there are no tags"
        raise NotFound(f"{subject} has no version {reference.which}", hint=hint + tags + ".")
    return found


def _created(tx: Transaction, subject: str, number: int) -> datetime | None:
    found = tx.get(DATASET_VERSIONS, f"{subject}@{number}")
    return found.created if found else None
