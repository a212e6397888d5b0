"""Logged models: what a run trained and saved, with its params, tags and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from conveyor.domain.track_filter import ATTRIBUTE, METRIC, PARAM, TAG, Clause, parse, parse_order
from conveyor.domain.track_match import matches, ordered
from conveyor.domain.tracked import Pair, Point
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.tracking import documents, experiments, files
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import asks, checks, needs, paging
from conveyor.web.mlflow.service import Answer, Route, Service

Document = dict[str, Any]
_STATUSES = {1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}
_KEYS = frozenset(
    (
        "name",
        "model_id",
        "model_type",
        "status",
        "source_run_id",
        "creation_timestamp",
        "last_updated_timestamp",
        "creation_time",
    )
)


def create(service: Service, session: Session, ask: asks.CreateLoggedModel) -> Answer:
    experiments.get(session, ask.experiment_id)
    id_ = f"m-{service.id()}"
    document = {
        "model_id": id_,
        "experiment_id": ask.experiment_id,
        "name": ask.name or f"model-{id_[2:10]}",
        "creation_timestamp": service.now(),
        "last_updated_timestamp": service.now(),
        "status": "LOGGED_MODEL_PENDING",
        "model_type": ask.model_type,
        "source_run_id": ask.source_run_id,
        "tags": {tag.key: tag.value for tag in ask.tags},
        "params": {param.key: param.value for param in ask.params},
        "metrics": [],
    }
    _put(session, document)
    return {"model": _told(document)}


def get(_: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    return {"model": _told(need(session, ask.model_id))}


def finish(service: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    document = need(session, ask.model_id)
    document["status"] = _STATUSES.get(ask.status, "") if isinstance(ask.status, int) else ask.status
    if document["status"] not in _STATUSES.values():
        raise InputRejected(f"Invalid model status {ask.status!r}", hint=f"One of {', '.join(_STATUSES.values())}.")
    document["last_updated_timestamp"] = service.now()
    _put(session, document)
    return {"model": _told(document)}


def delete(_: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    need(session, ask.model_id)
    needs.refuse_model(session, ask.model_id)
    documents.remove(session, documents.LOGGED_MODEL, ask.model_id)
    return {}


def set_tags(service: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    document = need(session, ask.model_id)
    document["tags"] |= {tag.key: tag.value for tag in ask.tags}
    document["last_updated_timestamp"] = service.now()
    _put(session, document)
    return {"model": _told(document)}


def delete_tag(_: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    document = need(session, ask.model_id)
    if document["tags"].pop(ask.tag_key, None) is None:
        raise NotFound(f"No tag with key {ask.tag_key!r} on model {ask.model_id!r}", hint="Look at its tags.")
    _put(session, document)
    return {}


def log_params(_: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    document = need(session, ask.model_id)
    document["params"] |= {param.key: param.value for param in ask.params}
    _put(session, document)
    return {}


def search(_: Service, session: Session, ask: asks.Search) -> Answer:
    clauses = parse(ask.filter, _KEYS, (METRIC, PARAM, TAG, ATTRIBUTE))
    found = [
        document
        for document in reversed(documents.find(session, documents.LOGGED_MODEL, ask.experiment_ids))
        if all(matches(clause, _value(document, clause)) for clause in clauses)
    ]
    orders = [
        parse_order(f"{order['field_name']} {'asc' if order.get('ascending', True) else 'desc'}", _KEYS)
        for order in ask.order_by
        if isinstance(order, dict) and "." not in order.get("field_name", ".")
    ]
    limit, start = checks.at_most(ask.max_results, 50, 1000), paging.offset(ask.page_token)
    rows: list[Any] = ordered(list(found), [order for order in orders if order.key != "creation_time"])
    return paging.page("models", [_told(row) for row in rows[start : start + limit + 1]], limit, start)


def directories(_: Service, session: Session, ask: asks.OfLoggedModel) -> Answer:
    need(session, ask.model_id)
    folder = files.checked(ask.artifact_directory_path) if ask.artifact_directory_path else ""
    found = files.listed(session, ask.model_id, folder)
    for each in found:
        each.path = f"{folder}/{each.path}" if folder else each.path
    return {"root_uri": _location(need(session, ask.model_id)), "files": found}


def add_points(session: Session, run: str, given: Sequence[Point]) -> None:
    """Metrics that were logged for a model; the newest of each name, dataset and run is kept on it."""
    for id_ in {str(point.model_id) for point in given if point.model_id}:
        document = documents.get(session, documents.LOGGED_MODEL, id_)
        if document is None:
            continue
        kept = {_which(each): each for each in document["metrics"]}
        for point in given:
            if point.model_id == id_:
                told = msgspec.to_builtins(point) | {"run_id": run}
                told = {name: value for name, value in told.items() if value != ""}
                kept[_which(told)] = told
        document["metrics"] = list(kept.values())
        _put(session, document)


def need(session: Session, id_: str) -> Document:
    found = documents.get(session, documents.LOGGED_MODEL, id_)
    if found is None:
        raise NotFound(f"Logged model with ID '{id_}' not found.", hint="Search the experiment's logged models.")
    return found


def location(session: Session, id_: str) -> str:
    return _location(need(session, id_))


def _location(document: Document) -> str:
    return f"mlflow-artifacts:/{document['experiment_id']}/models/{document['model_id']}/artifacts"


def _which(metric: Document) -> tuple[Any, ...]:
    return metric["key"], metric.get("dataset_name"), metric.get("dataset_digest"), metric.get("run_id")


def _put(session: Session, document: Document) -> None:
    documents.put(session, documents.LOGGED_MODEL, document["model_id"], document["experiment_id"], document)


def _value(document: Document, clause: Clause) -> Any:
    if clause.kind == METRIC:
        values = [each["value"] for each in document["metrics"] if each["key"] == clause.key]
        return values[-1] if values else None
    if clause.kind == PARAM:
        return document["params"].get(clause.key)
    if clause.kind == TAG:
        return document["tags"].get(clause.key)
    return document.get("creation_timestamp" if clause.key == "creation_time" else clause.key)


def _told(document: Document) -> Answer:
    info = {
        "model_id": document["model_id"],
        "experiment_id": document["experiment_id"],
        "name": document["name"],
        "creation_timestamp_ms": document["creation_timestamp"],
        "last_updated_timestamp_ms": document["last_updated_timestamp"],
        "artifact_uri": _location(document),
        "status": document["status"],
        "model_type": document["model_type"],
        "source_run_id": document["source_run_id"],
        "tags": [Pair(key, value) for key, value in document["tags"].items()],
    }
    params = [Pair(key, value) for key, value in document["params"].items()]
    return {"info": info, "data": {"params": params, "metrics": document["metrics"]}}


ROUTES = (
    Route("POST", "logged-models", asks.CreateLoggedModel, create, writes=True),
    Route("POST", "logged-models/search", asks.Search, search),
    Route("GET", "logged-models/{model_id}", asks.OfLoggedModel, get),
    Route("PATCH", "logged-models/{model_id}", asks.OfLoggedModel, finish, writes=True),
    Route("DELETE", "logged-models/{model_id}", asks.OfLoggedModel, delete, writes=True),
    Route("PATCH", "logged-models/{model_id}/tags", asks.OfLoggedModel, set_tags, writes=True),
    Route("DELETE", "logged-models/{model_id}/tags/{tag_key}", asks.OfLoggedModel, delete_tag, writes=True),
    Route("POST", "logged-models/{model_id}/params", asks.OfLoggedModel, log_params, writes=True),
    Route("GET", "logged-models/{model_id}/artifacts/directories", asks.OfLoggedModel, directories),
)
