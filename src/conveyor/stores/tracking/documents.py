"""What is rare and is read whole: logged models, registered models and versions, inputs and outputs of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, select

from conveyor.domain import wire
from conveyor.domain.track_filter import Clause
from conveyor.domain.tracked import TrackedRun
from conveyor.stores.tracking.comparing import compared
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.schema import DOCUMENTS, RUNS

Document = dict[str, Any]
LOGGED_MODEL, REGISTERED, VERSION = "logged_model", "registered_model", "model_version"
DATASET_INPUT, MODEL_INPUT, MODEL_OUTPUT = "dataset_input", "model_input", "model_output"
_C = DOCUMENTS.c


def get(session: Session, kind: str, key: str) -> Document | None:
    body = session.connection.execute(select(_C.body).where(_C.kind == kind, _C.key == key)).scalar()
    return None if body is None else _decoded(body)


def put(session: Session, kind: str, key: str, parent: str, document: Document) -> None:
    """Inserts, or replaces; its place in the order stays."""
    body = wire.to_json(document).decode()
    insertion = session.upsert(DOCUMENTS).values(kind=kind, key=key, parent=parent, body=body)
    statement = insertion.on_conflict_do_update(index_elements=["kind", "key"], set_={"body": body, "parent": parent})
    session.connection.execute(statement)


def find(session: Session, kind: str, parents: Sequence[str] | None = None) -> list[Document]:
    """The oldest first."""
    query = select(_C.body).where(_C.kind == kind)
    if parents is not None:
        query = query.where(_C.parent.in_(parents))
    return [_decoded(body) for body in session.connection.execute(query.order_by(_C.seq)).scalars()]


def remove(session: Session, kind: str, key: str) -> None:
    session.connection.execute(delete(DOCUMENTS).where(_C.kind == kind, _C.key == key))


def attach(session: Session, found: Sequence[TrackedRun], among: str) -> None:
    """Gives runs what went into them and came out of them. `among`: the numbers of these runs, as a condition."""
    by_id = {run.info.run_id: run for run in found}
    kinds = f"('{DATASET_INPUT}', '{MODEL_INPUT}', '{MODEL_OUTPUT}')"
    parents = f"parent IN (SELECT uuid FROM {RUNS.name} WHERE id {among})"
    query = f"SELECT kind, parent, body FROM {DOCUMENTS.name} WHERE kind IN {kinds} AND {parents} ORDER BY seq"
    for kind, parent, body in session.driven(query):
        run = by_id[parent]
        if kind == MODEL_OUTPUT:
            run.outputs = {"model_outputs": [*run.outputs.get("model_outputs", ()), _decoded(body)]}
        else:
            name = "dataset_inputs" if kind == DATASET_INPUT else "model_inputs"
            run.inputs = run.inputs | {name: [*run.inputs.get(name, ()), _decoded(body)]}


def put_dataset(session: Session, run: str, given: Document) -> None:
    """An input of a run, and what searches read of it: name, digest, and the context that its tag says."""
    dataset = given.get("dataset") or {}
    key = f"{run}/{dataset.get('name', '')}/{dataset.get('digest', '')}"
    put(session, DATASET_INPUT, key, run, given)
    contexts = [tag["value"] for tag in given.get("tags", ()) if tag.get("key") == "mlflow.data.context"]
    facts = {"name": dataset.get("name"), "digest": dataset.get("digest"), "context": next(iter(contexts), None)}
    for name, value in facts.items():
        if value is not None:
            values = {"kind": f"dataset.{name}", "key": key, "parent": run, "body": str(value)}
            insertion = session.upsert(DOCUMENTS).values(**values)
            session.connection.execute(
                insertion.on_conflict_do_update(index_elements=["kind", "key"], set_={"body": str(value)})
            )


def with_dataset(clause: Clause) -> ColumnElement[bool]:
    """Runs with an input whose dataset is so."""
    has = select(_C.key).where(_C.kind == f"dataset.{clause.key}", _C.parent == RUNS.c.uuid).correlate(RUNS)
    return has.where(compared(_C.body, clause.op, clause.value)).exists()


def _decoded(body: str) -> Document:
    return msgspec.json.decode(body, type=Document)
