"""Rows by request: durable in the log before they are answered for, then arrivals like any file, each exactly once."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

from conveyor.delivery.lookup import latest_build, latest_data
from conveyor.domain.families import model_of
from conveyor.domain.project import DataConfig
from conveyor.domain.rows import MEDIA, MOST_KEYS, REMEMBERED, Format, RowKeys, RowsTaken
from conveyor.domain.state import Arrival, Project
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.sdk import rows as checks
from conveyor.stores.collections import ARRIVALS, PROJECTS, ROW_KEYS
from conveyor.stores.records import Transaction
from conveyor.stores.rowlog import RowLog

_LEAST = 1.0  # seconds that a segment is filled for, however short the debounce is
_AT_ONCE = 64 * 2**20  # bytes of segments that become arrivals in one turn
_LONGEST_KEY = 255


class Rows:
    """`accept` is called by the API, `turn` by the reconciler; both work on one log."""

    def __init__(self, context: Context, log: RowLog) -> None:
        self._context = context
        self._log = log
        self._counted = self._recall()
        self._revision = -1
        self._schemas: dict[tuple[str, str], tuple[str, dict[str, str] | None]] = {}

    # --- requests

    def accept(self, project: str, dataset: str, media: str, key: str, body: bytes) -> Future[RowsTaken]:
        """Checks the rows and hands them to the log; done once they are durable."""
        format_ = MEDIA.get(media.partition(";")[0].strip().lower())
        if format_ is None:
            raise InputRejected(
                f"rows cannot be read from {media[:80] or 'a body without a content type'!r}",
                hint=f"Send one of {', '.join(MEDIA)}; a file goes to PUT …/files/NAME.",
            )
        project, schema = self._schema(project, dataset)
        body, count = checks.checked(format_, body, schema)
        return self.take(f"{project}/{dataset}", format_, key, body, count)

    def take(
        self, dataset: str, format_: Format, key: str, body: bytes, count: int, said: bytes | None = None
    ) -> Future[RowsTaken]:
        """Rows that were checked. `said`: what the client sent, where the rows were made of that."""
        if len(key) > _LONGEST_KEY:
            raise InputRejected(
                f"the Idempotency-Key has {len(key)} characters", hint=f"Use at most {_LONGEST_KEY}, a UUID for one."
            )
        written = self._log.append(dataset, format_, key, body, said)
        answer: Future[RowsTaken] = Future()

        def tell(done: Future[bool]) -> None:
            if not answer.set_running_or_notify_cancel():
                return  # the client has gone; its rows are taken, or it asks again
            error = done.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(RowsTaken(count, duplicate=not done.result()))

        written.add_done_callback(tell)
        return answer

    def _schema(self, project: str, dataset: str) -> tuple[str, dict[str, str] | None]:
        """The project, and the dataset's schema if it has a version; read again only after something was written."""
        records = self._context.records
        if records.revision != self._revision:
            self._schemas, self._revision = {}, records.revision
        known = self._schemas.get((project, dataset))
        if known is None:
            with records.read() as tx:
                named = project or only(tx.find(PROJECTS, limit=2))
                build = latest_build(tx, named)
                if model_of(dataset):
                    raise InputRejected(
                        f"{dataset} takes no rows: Conveyor itself makes it",
                        hint="Labels go to POST /v1/models/MODEL/labels, rows to a dataset of conveyor.toml.",
                    )
                if build is None or dataset not in build.config.data:
                    names = ", ".join(sorted(build.config.data)) if build else "none: nothing was pushed yet"
                    raise NotFound(f"there is no dataset {dataset[:80]!r}", hint=f"Declared are: {names}.")
                if build.config.data[dataset].kind == "files":
                    raise Conflict(f"{dataset} is a dataset of files: it takes no rows", hint="Send rows to a table.")
                newest = latest_data(tx, named, dataset)
            known = self._schemas[project, dataset] = (named, newest.schema if newest else None)
        return known

    # --- what the reconciler does

    def turn(self, project: str, data: DataConfig) -> None:
        """Segments become arrivals, while none of this dataset is waiting: what comes meanwhile fills the next."""
        dataset = f"{project}/{data.name}"
        if not self._log.size:
            return
        with self._context.records.read() as tx:
            if any(
                tx.find(ARRIVALS, where={"dataset": dataset, "state": s}, limit=1) for s in ("waiting", "ingesting")
            ):
                return
        self._log.seal(dataset, older=max(_LEAST, data.debounce.total_seconds()))
        taken: list[tuple[Path, str]] = []
        size = 0
        for segment in self._log.sealed(dataset):
            size += segment.stat().st_size
            if taken and size > _AT_ONCE:
                break
            taken.append((segment, self._context.objects.put_file(segment)))
        if taken:
            self._arrive(project, data, taken)

    def _arrive(self, project: str, data: DataConfig, taken: list[tuple[Path, str]]) -> None:
        """The segments are arrivals and their keys are on record in one transaction; then the log may forget them."""
        context, dataset = self._context, f"{project}/{data.name}"
        now = context.clock.now()
        with context.transaction() as tx:
            for segment, digest in taken:
                id_ = f"{dataset}/{segment.name}"
                if tx.get(ARRIVALS, id_) is not None:
                    continue  # a crash came before the segment was deleted
                arrival = Arrival(id_, project, data.name, f"rows-{segment.name}", digest, now)
                tx.put(ARRIVALS, arrival)
                subject = f"data/{dataset}"
                tx.append(
                    context.event("data.arrived", subject, project, file=arrival.file, digest=digest, arrival=id_)
                )
                keys = [part.hex() for pair in self._log.keys(segment) for part in pair]
                if keys:
                    tx.put(ROW_KEYS, RowKeys(id_, dataset, tuple(keys), now))
                    self._counted[dataset] = self._counted.get(dataset, 0) + len(keys) // 2
            self._forget(tx, dataset, now)
        for segment, _ in taken:
            self._log.delete(segment)

    def _forget(self, tx: Transaction, dataset: str, now: datetime) -> None:
        for old in tx.find(ROW_KEYS, where={"dataset": dataset}, limit=20, newest=False):
            if now - old.created < REMEMBERED and self._counted.get(dataset, 0) <= MOST_KEYS:
                return
            tx.delete(ROW_KEYS, old.id)
            self._counted[dataset] = self._counted.get(dataset, 0) - len(old.keys) // 2
            self._log.forget(dataset, (key for key, _ in _pairs(old)))

    def _recall(self) -> dict[str, int]:
        """The keys on record go into the log's memory; how many each dataset has."""
        counted: dict[str, int] = {}
        with self._context.records.read() as tx:
            found = tx.find(ROW_KEYS, limit=1_000_000, newest=False)
        for each in found:
            counted[each.dataset] = counted.get(each.dataset, 0) + len(each.keys) // 2
        for dataset in counted:
            pairs = [pair for each in found if each.dataset == dataset for pair in _pairs(each)]
            self._log.remember(dataset, pairs)
        return counted


def _pairs(keys: RowKeys) -> list[tuple[bytes, bytes]]:
    raw = [bytes.fromhex(part) for part in keys.keys]
    return list(zip(raw[::2], raw[1::2], strict=True))


def only(projects: list[Project]) -> str:
    if len(projects) != 1:
        what = "there are several projects" if projects else "no project was pushed yet"
        raise InputRejected(what, hint="Name one: POST /v1/data/NAME/rows?project=PROJECT.")
    return projects[0].name
