"""Tracked runs: made, changed, deleted, restored; their params and tags. Only the writer calls what changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from conveyor.domain.tracked import ACTIVE, RUNNING, Pair, RunInfo
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.tracking import experiments
from conveyor.stores.tracking.database import Prepared, Session
from conveyor.stores.tracking.schema import EXPERIMENTS, PARAMS, RUNS, TAGS

NAME_TAG = "mlflow.runName"
_TEXTS = ("run", "key", "value")


def create(
    session: Session, uuid: str, experiment: str, name: str, user: str, started: int, tags: Sequence[Pair]
) -> RunInfo:
    number = experiments.number_of(experiment)
    stage = session.connection.execute(select(EXPERIMENTS.c.stage).where(EXPERIMENTS.c.id == number)).scalar()
    if stage is None:
        raise NotFound(f"No Experiment with id={experiment} exists", hint="Create it first.")
    if stage != ACTIVE:
        raise InputRejected(
            f"The experiment {experiment} must be in the 'active' state. Current state is {stage}.",
            hint="Restore it first.",
        )
    row = (uuid, number, name, user, RUNNING, started, ACTIVE)
    columns = ("uuid", "experiment", "name", "user", "status", "started", "stage")
    statement = insert(RUNS).values(**dict(zip(columns, row, strict=True))).returning(RUNS.c.id)
    run = int(session.connection.execute(statement).scalar_one())
    session.memory.runs[uuid] = run
    _write(session, "tags", [(run, tag.key, tag.value) for tag in tags])
    return _info(uuid, name, experiment, user, RUNNING, started, None, ACTIVE)


def number(session: Session, uuid: str) -> int:
    """The number of an active run. Raises NotFound, or InputRejected for one that is deleted."""
    known = session.memory.runs.get(uuid)
    if known is not None:
        return known
    row = session.connection.execute(select(RUNS.c.id, RUNS.c.stage).where(RUNS.c.uuid == uuid)).first()
    if row is None:
        raise missing(uuid)
    if row.stage != ACTIVE:
        raise InputRejected(
            f"The run {uuid} must be in the 'active' state. Current state is {row.stage}.", hint="Restore it first."
        )
    session.memory.runs[uuid] = row.id
    return int(row.id)


def change(
    session: Session, uuid: str, status: str | None = None, ended: int | None = None, name: str | None = None
) -> RunInfo:
    run = number(session, uuid)
    values: dict[str, Any] = {"status": status, "ended": ended, "name": name or None}
    given = {key: value for key, value in values.items() if value is not None}
    if given:
        session.connection.execute(update(RUNS).where(RUNS.c.id == run).values(**given))
    if name:
        _write(session, "tags", [(run, NAME_TAG, name)])
    return info(session, uuid)


def move(session: Session, uuid: str, stage: str) -> None:
    """Deletes a run, or restores it; its figures stay."""
    changed = session.connection.execute(update(RUNS).where(RUNS.c.uuid == uuid).values(stage=stage))
    if not changed.rowcount:
        raise missing(uuid)
    session.memory.runs.pop(uuid, None)


def log_params(session: Session, run: int, params: Sequence[Pair], uuid: str) -> None:
    """A param keeps its first value: another one is refused, and nothing is written."""
    if not params:
        return
    c = PARAMS.c
    wanted = select(c.key, c.value).where(c.run == run, c.key.in_([param.key for param in params]))
    there = {row.key: row.value for row in session.connection.execute(wanted)}
    new: dict[str, str] = {}
    for param in params:
        old = there.get(param.key, new.get(param.key))
        if old is not None and old != param.value:
            raise InputRejected(
                f"Changing param values is not allowed. Param with key={param.key!r} was already logged with "
                f"value={old!r} for run ID={uuid!r}. Attempted logging new value {param.value!r}.",
                hint="Log it under another name, or start another run.",
            )
        if param.key not in there:
            new[param.key] = param.value
    _write(session, "params", [(run, key, value) for key, value in new.items()])


def params_of(session: Session, run: int) -> dict[str, str]:
    wanted = select(PARAMS.c.key, PARAMS.c.value).where(PARAMS.c.run == run)
    return {row.key: row.value for row in session.connection.execute(wanted).all()}


def set_tags(session: Session, run: int, tags: Sequence[Pair]) -> None:
    for tag in tags:
        if tag.key == NAME_TAG:
            session.connection.execute(update(RUNS).where(RUNS.c.id == run).values(name=tag.value))
    _write(session, "tags", list({tag.key: (run, tag.key, tag.value) for tag in tags}.values()))


def delete_tag(session: Session, uuid: str, key: str) -> None:
    gone = session.connection.execute(delete(TAGS).where(TAGS.c.run == number(session, uuid), TAGS.c.key == key))
    if not gone.rowcount:
        raise NotFound(f"No tag with name: {key} in run with id {uuid}", hint="Look at the run's tags.")


def info(session: Session, uuid: str) -> RunInfo:
    row = session.connection.execute(select(RUNS).where(RUNS.c.uuid == uuid)).first()
    if row is None:
        raise missing(uuid)
    return told([tuple(row)[1:]])[0]


def told(rows: Iterable[Sequence[Any]]) -> list[RunInfo]:
    """`rows`: all columns of RUNS but the number, in their order."""
    return [_info(uuid, name, str(experiment), *more) for uuid, experiment, name, *more in rows]


def missing(uuid: str) -> NotFound:
    return NotFound(f"Run with id={uuid} not found", hint="List runs: conveyor track list")


def _info(
    uuid: str, name: str, experiment: str, user: str, status: str, started: int, ended: int | None, stage: str
) -> RunInfo:
    place = f"mlflow-artifacts:/{experiment}/{uuid}/artifacts"
    return RunInfo(uuid, uuid, name, experiment, user, status, started, place, stage, ended)


def _write(session: Session, name: str, rows: list[tuple[int, str, str]]) -> None:
    """Inserts, or replaces the value of the same key."""
    prepared = session.memory.prepared.get(name)
    if prepared is None:
        table = PARAMS if name == "params" else TAGS
        insertion = session.upsert(table).values({column: bindparam(column) for column in _TEXTS})
        statement = insertion.on_conflict_do_update(
            index_elements=["run", "key"], set_={"value": insertion.excluded.value}
        )
        prepared = Prepared(statement, session.connection.dialect, _TEXTS)
        session.memory.prepared[name] = prepared
    prepared.many(session.connection, rows)
