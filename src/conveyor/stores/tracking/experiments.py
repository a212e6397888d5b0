"""Experiments: named sets of runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, insert, select, update

from conveyor.domain.track_filter import Clause, Order
from conveyor.domain.tracked import ACTIVE, DELETED, Experiment, Pair
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.stores.tracking.comparing import compared
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.schema import EXPERIMENT_TAGS, EXPERIMENTS, RUNS

DEFAULT = "Default"
KEYS = frozenset(("name", "experiment_id", "creation_time", "last_update_time"))
_COLUMNS = {
    "name": EXPERIMENTS.c.name,
    "experiment_id": EXPERIMENTS.c.id,
    "creation_time": EXPERIMENTS.c.created,
    "last_update_time": EXPERIMENTS.c.updated,
}


def create(session: Session, name: str, now: int, location: str = "", tags: list[Pair] | None = None) -> str:
    found = session.connection.execute(select(EXPERIMENTS.c.stage).where(EXPERIMENTS.c.name == name)).first()
    if found is not None:
        deleted = " in deleted state" if found.stage == DELETED else ""
        raise Conflict(
            f"Experiment {name!r} already exists{deleted}.", hint="Take another name, or restore the deleted one."
        )
    values: dict[str, Any] = {"name": name, "location": location, "stage": ACTIVE, "created": now, "updated": now}
    if name == DEFAULT:
        values["id"] = 0
    statement = insert(EXPERIMENTS).values(**values).returning(EXPERIMENTS.c.id)
    number = int(session.connection.execute(statement).scalar_one())
    if not location:
        place = update(EXPERIMENTS).where(EXPERIMENTS.c.id == number)
        session.connection.execute(place.values(location=f"mlflow-artifacts:/{number}"))
    for tag in tags or []:
        set_tag(session, str(number), tag)
    return str(number)


def ensure(session: Session, name: str, now: int) -> str:
    """The experiment of this name, made where there is none, restored where it was deleted."""
    found = session.connection.execute(
        select(EXPERIMENTS.c.id, EXPERIMENTS.c.stage).where(EXPERIMENTS.c.name == name)
    ).first()
    if found is None:
        return create(session, name, now)
    if found.stage == DELETED:
        move(session, str(found.id), ACTIVE, now)
    return str(found.id)


def get(session: Session, id_: str) -> Experiment:
    return _one(session, EXPERIMENTS.c.id == number_of(id_), f"No Experiment with id={id_} exists")


def by_name(session: Session, name: str) -> Experiment:
    return _one(session, EXPERIMENTS.c.name == name, f"Could not find experiment with name {name!r}")


def search(
    session: Session, clauses: list[Clause], orders: list[Order], stages: tuple[str, ...], limit: int, offset: int
) -> list[Experiment]:
    query = select(EXPERIMENTS).where(EXPERIMENTS.c.stage.in_(stages))
    for clause in clauses:
        if clause.kind == "attribute":
            column = _COLUMNS[clause.key]
            value: Any = clause.value
            if clause.key == "experiment_id":
                value = tuple(map(number_of, value)) if isinstance(value, tuple) else number_of(str(value))
            query = query.where(compared(column, clause.op, value))
        else:
            tags = EXPERIMENT_TAGS.c
            has = select(tags.key).where(tags.experiment == EXPERIMENTS.c.id, tags.key == clause.key)
            if clause.op == "IS NULL":
                query = query.where(~has.exists())
                continue
            if clause.op != "IS NOT NULL":
                has = has.where(compared(tags.value, clause.op, clause.value))
            query = query.where(has.exists())
    for order in orders:
        column = _COLUMNS[order.key]
        query = query.order_by(column.asc() if order.ascending else column.desc())
    if not any(order.key == "last_update_time" for order in orders):
        query = query.order_by(EXPERIMENTS.c.updated.desc())
    query = query.order_by(EXPERIMENTS.c.id.desc())
    return _told(session, query.limit(limit).offset(offset))


def rename(session: Session, id_: str, name: str, now: int) -> None:
    get(session, id_)
    taken = session.connection.execute(select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.name == name)).scalar()
    if taken is not None and str(taken) != id_:
        raise Conflict(f"Experiment {name!r} already exists.", hint="Take another name.")
    _update(session, id_, name=name, updated=now)


def move(session: Session, id_: str, stage: str, now: int) -> None:
    """Deletes an experiment with its runs, or restores it with them."""
    number = number_of(id_)
    get(session, id_)
    _update(session, id_, stage=stage, updated=now)
    session.connection.execute(update(RUNS).where(RUNS.c.experiment == number).values(stage=stage))
    session.memory.forget()


def set_tag(session: Session, id_: str, tag: Pair) -> None:
    insertion = session.upsert(EXPERIMENT_TAGS).values(experiment=number_of(id_), key=tag.key, value=tag.value)
    statement = insertion.on_conflict_do_update(index_elements=["experiment", "key"], set_={"value": tag.value})
    session.connection.execute(statement)


def delete_tag(session: Session, id_: str, key: str) -> None:
    tags = EXPERIMENT_TAGS.c
    gone = session.connection.execute(delete(EXPERIMENT_TAGS).where(tags.experiment == number_of(id_), tags.key == key))
    if not gone.rowcount:
        raise NotFound(f"No tag with name: {key} in experiment with id {id_}", hint="Look at the experiment's tags.")


def count(session: Session) -> int:
    return int(session.connection.execute(select(func.count()).select_from(EXPERIMENTS)).scalar_one())


def number_of(id_: str) -> int:
    if not (id_.isascii() and id_.isdigit() and len(id_) < 19):
        raise InputRejected(f"Invalid experiment id {id_[:80]!r}: it must be a number", hint="Search by the name.")
    return int(id_)


def _update(session: Session, id_: str, **values: Any) -> None:
    session.connection.execute(update(EXPERIMENTS).where(EXPERIMENTS.c.id == number_of(id_)).values(**values))


def _one(session: Session, where: Any, missing: str) -> Experiment:
    found = _told(session, select(EXPERIMENTS).where(where))
    if not found:
        raise NotFound(missing, hint="List them: conveyor track experiments")
    return found[0]


def _told(session: Session, query: Any) -> list[Experiment]:
    rows = session.connection.execute(query).all()
    tags: dict[int, list[Pair]] = {}
    wanted = select(EXPERIMENT_TAGS).where(EXPERIMENT_TAGS.c.experiment.in_([row.id for row in rows]))
    for row in session.connection.execute(wanted.order_by(EXPERIMENT_TAGS.c.key)) if rows else ():
        tags.setdefault(row.experiment, []).append(Pair(row.key, row.value))
    return [
        Experiment(str(row.id), row.name, row.location, row.stage, row.created, row.updated, tags.get(row.id, []))
        for row in rows
    ]
