"""Versions of registered models, as MLflow's clients make, change, find and load them."""

from __future__ import annotations

from typing import Any

from conveyor.domain.track_filter import ATTRIBUTE, TAG, Clause, parse, parse_order
from conveyor.domain.track_match import matches, ordered
from conveyor.errors import InputRejected, NotFound, Refused
from conveyor.stores.tracking import documents
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import asks, checks, logged_model_routes, paging, registry_routes
from conveyor.web.mlflow.service import Answer, Route, Service
from conveyor.web.mlflow.versions import told_version

Document = dict[str, Any]
_STAGES = ("None", "Staging", "Production", "Archived")
_KEYS = frozenset(
    ("name", "version_number", "run_id", "source_path", "creation_timestamp", "last_updated_timestamp", "version")
)


def create(service: Service, session: Session, ask: asks.CreateVersion) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        raise service.trained.refuse(ask.name, subject, "add a version")
    model = registry_routes.need(session, ask.name)
    if not ask.source.startswith(("models:/", "mlflow-artifacts:", "runs:/")):
        raise InputRejected(
            f"Invalid model version source: {ask.source[:200]!r}", hint="Log the model here first: models:/m-…"
        )
    model_id = ask.model_id
    if ask.source.startswith("models:/m-"):
        model_id = logged_model_routes.need(session, ask.source.removeprefix("models:/"))["model_id"]
    document = {
        "name": ask.name,
        "version": str(model["newest"] + 1),
        "creation_timestamp": service.now(),
        "last_updated_timestamp": service.now(),
        "current_stage": "None",
        "description": ask.description,
        "source": ask.source,
        "run_id": ask.run_id,
        "run_link": ask.run_link,
        "model_id": model_id,
        "tags": {tag.key: tag.value for tag in ask.tags},
    }
    registry_routes.put(session, model | {"newest": model["newest"] + 1, "last_updated_timestamp": service.now()})
    _put(session, document)
    return {"model_version": told_version(service, session, document)}


def get(service: Service, session: Session, ask: asks.Registered) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        return {"model_version": service.trained.version(ask.name, subject, ask.version)}
    return {"model_version": told_version(service, session, _need(session, ask))}


def search(service: Service, session: Session, ask: asks.Search) -> Answer:
    clauses = parse(ask.filter, _KEYS, (ATTRIBUTE, TAG))
    limit, start = checks.at_most(ask.max_results, 10_000, 200_000), paging.offset(ask.page_token)
    named = [str(clause.value) for clause in clauses if clause.key == "name" and clause.op == "="]
    subject = service.trained.find(named[0]) if named else None
    if subject is not None:
        return paging.page("model_versions", service.trained.versions(named[0], subject), limit, 0)
    found = [
        document
        for document in documents.find(session, documents.VERSION, named or None)
        if all(matches(clause, _value(document, clause)) for clause in clauses)
    ]
    found.sort(key=lambda row: (-row["last_updated_timestamp"], row["name"], -int(row["version"])))
    orders = [parse_order(order, _KEYS) for order in ask.order_by]
    rows: list[Any] = ordered([{**row, "version_number": int(row["version"])} for row in found], orders)
    shown = [told_version(service, session, row) for row in rows[start : start + limit + 1]]
    return paging.page("model_versions", shown, limit, start)


def download_uri(service: Service, session: Session, ask: asks.Registered) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        return {"artifact_uri": service.trained.version(ask.name, subject, ask.version)["source"]}
    source = _need(session, ask)["source"]
    if source.startswith("models:/m-"):
        source = logged_model_routes.location(session, source.removeprefix("models:/"))
    return {"artifact_uri": source}


def update(service: Service, session: Session, ask: asks.Registered) -> Answer:
    document = _changed(service, session, ask)
    if ask.description is not None:
        document["description"] = ask.description
    _put(session, document)
    return {"model_version": told_version(service, session, document)}


def move(service: Service, session: Session, ask: asks.Registered) -> Answer:
    """Stages are MLflow's older aliases; they gate nothing here."""
    stage = next((each for each in _STAGES if each.lower() == ask.stage.lower()), None)
    if stage is None:
        raise InputRejected(f"Invalid Model Version stage: {ask.stage}.", hint=f"One of {', '.join(_STAGES)}.")
    document = _changed(service, session, ask)
    for other in documents.find(session, documents.VERSION, [ask.name]) if ask.archive_existing_versions else ():
        if other["current_stage"] == stage and other["version"] != ask.version:
            _put(session, other | {"current_stage": "Archived"})
    document["current_stage"] = stage
    _put(session, document)
    return {"model_version": told_version(service, session, document)}


def delete(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _changed(service, session, ask)
    aliases = registry_routes.need(session, ask.name)["aliases"]
    needing = [alias for alias, number in aliases.items() if number == ask.version]
    if needing:
        raise Refused(
            f"version {ask.version} of {ask.name} is needed by the alias {', '.join(needing)}",
            hint="Point the alias at another version, or delete it, first.",
        )
    documents.remove(session, documents.VERSION, f"{ask.name}/{ask.version}")
    return {}


def set_tag(service: Service, session: Session, ask: asks.Registered) -> Answer:
    document = _changed(service, session, ask)
    document["tags"][ask.key] = ask.value
    _put(session, document)
    return {}


def delete_tag(service: Service, session: Session, ask: asks.Registered) -> Answer:
    document = _changed(service, session, ask)
    document["tags"].pop(ask.key, None)
    _put(session, document)
    return {}


def latest(service: Service, session: Session, ask: asks.Registered) -> Answer:
    """The newest version of each stage asked for."""
    subject = service.trained.find(ask.name)
    if subject is not None:
        return {"model_versions": service.trained.model(ask.name, subject)["latest_versions"]}
    registry_routes.need(session, ask.name)
    versions = documents.find(session, documents.VERSION, [ask.name])
    newest: dict[str, Document] = {version["current_stage"]: version for version in versions}
    wanted = [stage.capitalize() for stage in ask.stages] or list(newest)
    return {"model_versions": [told_version(service, session, newest[stage]) for stage in wanted if stage in newest]}


def _need(session: Session, ask: asks.Registered) -> Document:
    found = documents.get(session, documents.VERSION, f"{ask.name}/{ask.version}")
    if found is None:
        raise NotFound(f"Model Version (name={ask.name}, version={ask.version}) not found", hint="List its versions.")
    return found


def _changed(service: Service, session: Session, ask: asks.Registered) -> Document:
    subject = service.trained.find(ask.name)
    if subject is not None:
        raise service.trained.refuse(ask.name, subject, "change a version")
    return _need(session, ask) | {"last_updated_timestamp": service.now()}


def _put(session: Session, document: Document) -> None:
    documents.put(session, documents.VERSION, f"{document['name']}/{document['version']}", document["name"], document)


def _value(document: Document, clause: Clause) -> Any:
    if clause.kind == TAG:
        return document["tags"].get(clause.key)
    if clause.key in ("version_number", "version"):
        return document["version"]
    return document.get("source" if clause.key == "source_path" else clause.key)


ROUTES = (
    Route("POST", "model-versions/create", asks.CreateVersion, create, writes=True),
    Route("GET", "model-versions/get", asks.Registered, get),
    Route("GET", "model-versions/search", asks.Search, search),
    Route("GET", "model-versions/get-download-uri", asks.Registered, download_uri),
    Route("PATCH", "model-versions/update", asks.Registered, update, writes=True),
    Route("POST", "model-versions/transition-stage", asks.Registered, move, writes=True),
    Route("DELETE", "model-versions/delete", asks.Registered, delete, writes=True),
    Route("POST", "model-versions/set-tag", asks.Registered, set_tag, writes=True),
    Route("DELETE", "model-versions/delete-tag", asks.Registered, delete_tag, writes=True),
    Route("GET", "registered-models/get-latest-versions", asks.Registered, latest),
    Route("POST", "registered-models/get-latest-versions", asks.Registered, latest),
)
