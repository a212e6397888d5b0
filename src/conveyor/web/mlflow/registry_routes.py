"""Registered models and their versions. A name that Conveyor trains is answered by `trained`; for the rest this is the
registry of MLflow's clients."""

from __future__ import annotations

import re
from typing import Any

from conveyor.domain.track_filter import ATTRIBUTE, TAG, Clause, parse, parse_order
from conveyor.domain.track_match import matches, ordered
from conveyor.domain.tracked import Pair
from conveyor.errors import Conflict, InputRejected, NotFound, Refused
from conveyor.stores.tracking import documents
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import asks, checks, paging
from conveyor.web.mlflow.service import Answer, Route, Service
from conveyor.web.mlflow.versions import told_version

Document = dict[str, Any]
_KEYS = frozenset(("name", "timestamp", "last_updated_timestamp", "creation_timestamp"))


def create(service: Service, session: Session, ask: asks.Registered) -> Answer:
    if not ask.name or re.search(r"[/:]", ask.name):
        raise InputRejected(
            f"Invalid model name: {ask.name!r}. Names cannot be empty, or hold '/' or ':'.", hint="Take another name."
        )
    _refuse_trained(service, ask.name, "register it")
    if documents.get(session, documents.REGISTERED, ask.name):
        raise Conflict(f"Registered Model (name={ask.name}) already exists.", hint="Add a version to it.")
    document = {
        "name": ask.name,
        "creation_timestamp": service.now(),
        "last_updated_timestamp": service.now(),
        "description": ask.description or "",
        "tags": {tag.key: tag.value for tag in ask.tags},
        "aliases": {},
        "newest": 0,
    }
    put(session, document)
    return {"registered_model": _told(service, session, document)}


def get(service: Service, session: Session, ask: asks.Registered) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        return {"registered_model": service.trained.model(ask.name, subject)}
    return {"registered_model": _told(service, session, need(session, ask.name))}


def search(service: Service, session: Session, ask: asks.Search) -> Answer:
    clauses = parse(ask.filter, _KEYS, (ATTRIBUTE, TAG))
    orders = [parse_order(order, _KEYS) for order in ask.order_by]
    found = [
        document
        for document in documents.find(session, documents.REGISTERED)
        if all(matches(clause, _value(document, clause)) for clause in clauses)
    ]
    found.sort(key=lambda document: str(document["name"]))
    rows: list[Any] = ordered(list(found), orders)
    limit, start = checks.at_most(ask.max_results, 100, 1000), paging.offset(ask.page_token)
    shown = [_told(service, session, row) for row in rows[start : start + limit + 1]]
    return paging.page("registered_models", shown, limit, start)


def update(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, "change it")
    document = need(session, ask.name) | {"last_updated_timestamp": service.now()}
    if ask.description is not None:
        document["description"] = ask.description
    put(session, document)
    return {"registered_model": _told(service, session, document)}


def rename(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, "rename it")
    document = need(session, ask.name)
    if documents.get(session, documents.REGISTERED, ask.new_name):
        raise Conflict(f"Registered Model (name={ask.new_name}) already exists.", hint="Take another name.")
    documents.remove(session, documents.REGISTERED, ask.name)
    for version in documents.find(session, documents.VERSION, [ask.name]):
        documents.remove(session, documents.VERSION, f"{ask.name}/{version['version']}")
        version["name"] = ask.new_name
        documents.put(session, documents.VERSION, f"{ask.new_name}/{version['version']}", ask.new_name, version)
    document |= {"name": ask.new_name, "last_updated_timestamp": service.now()}
    put(session, document)
    return {"registered_model": _told(service, session, document)}


def delete(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, "delete it")
    document = need(session, ask.name)
    if document["aliases"]:
        named = ", ".join(f"{alias} -> {number}" for alias, number in document["aliases"].items())
        raise Refused(f"{ask.name} is needed by its aliases: {named}", hint="Delete the aliases first.")
    for version in documents.find(session, documents.VERSION, [ask.name]):
        documents.remove(session, documents.VERSION, f"{ask.name}/{version['version']}")
    documents.remove(session, documents.REGISTERED, ask.name)
    return {}


def set_tag(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, "tag it")
    document = need(session, ask.name)
    document["tags"][ask.key] = ask.value
    put(session, document | {"last_updated_timestamp": service.now()})
    return {}


def delete_tag(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, "tag it")
    document = need(session, ask.name)
    document["tags"].pop(ask.key, None)
    put(session, document | {"last_updated_timestamp": service.now()})
    return {}


def set_alias(service: Service, session: Session, ask: asks.Registered) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        service.trained.point(subject, ask.alias, ask.version)
        return {}
    if not re.fullmatch(r"[\w\-]{1,255}", ask.alias) or re.fullmatch(r"[vV]?\d+", ask.alias) or ask.alias == "latest":
        raise InputRejected(
            f"Invalid alias name: {ask.alias!r}",
            hint="Letters, digits, _ and -; not `latest`, no version number.",
        )
    document = need(session, ask.name)
    if documents.get(session, documents.VERSION, f"{ask.name}/{ask.version}") is None:
        raise NotFound(f"Model Version (name={ask.name}, version={ask.version}) not found", hint="List its versions.")
    document["aliases"][ask.alias] = ask.version
    put(session, document)
    return {}


def delete_alias(service: Service, session: Session, ask: asks.Registered) -> Answer:
    _refuse_trained(service, ask.name, f"delete its alias {ask.alias!r}")
    document = need(session, ask.name)
    document["aliases"].pop(ask.alias, None)
    put(session, document)
    return {}


def by_alias(service: Service, session: Session, ask: asks.Registered) -> Answer:
    subject = service.trained.find(ask.name)
    if subject is not None:
        return {"model_version": service.trained.by_alias(ask.name, subject, ask.alias)}
    number = need(session, ask.name)["aliases"].get(ask.alias)
    if number is None:
        # The code that MLflow's own server answers with here.
        raise InputRejected(f"Registered model alias {ask.alias} not found.", hint="Set it first.")
    version = documents.get(session, documents.VERSION, f"{ask.name}/{number}")
    return {"model_version": told_version(service, session, version or {})}


def need(session: Session, name: str) -> Document:
    found = documents.get(session, documents.REGISTERED, name)
    if found is None:
        raise NotFound(f"Registered Model with name={name} not found", hint="Register it first.")
    return found


def put(session: Session, document: Document) -> None:
    documents.put(session, documents.REGISTERED, document["name"], "", document)


def _refuse_trained(service: Service, name: str, what: str) -> None:
    subject = service.trained.find(name)
    if subject is not None:
        raise service.trained.refuse(name, subject, what)


def _value(document: Document, clause: Clause) -> Any:
    # MLflow's clients ask for all that are no prompts: those without this tag are none.
    missing = "false" if clause.key == "mlflow.prompt.is_prompt" else None
    return document["tags"].get(clause.key, missing) if clause.kind == TAG else document.get(clause.key)


def _told(service: Service, session: Session, document: Document) -> Answer:
    versions = documents.find(session, documents.VERSION, [document["name"]])
    latest: dict[str, Document] = {version["current_stage"]: version for version in versions}
    return {
        "name": document["name"],
        "creation_timestamp": document["creation_timestamp"],
        "last_updated_timestamp": document["last_updated_timestamp"],
        "description": document["description"],
        "latest_versions": [told_version(service, session, version) for version in latest.values()],
        "tags": [Pair(key, value) for key, value in document["tags"].items()],
        "aliases": [{"alias": alias, "version": number} for alias, number in document["aliases"].items()],
    }


ROUTES = (
    Route("POST", "registered-models/create", asks.Registered, create, writes=True),
    Route("GET", "registered-models/get", asks.Registered, get),
    Route("GET", "registered-models/search", asks.Search, search),
    Route("PATCH", "registered-models/update", asks.Registered, update, writes=True),
    Route("POST", "registered-models/rename", asks.Registered, rename, writes=True),
    Route("DELETE", "registered-models/delete", asks.Registered, delete, writes=True),
    Route("POST", "registered-models/set-tag", asks.Registered, set_tag, writes=True),
    Route("DELETE", "registered-models/delete-tag", asks.Registered, delete_tag, writes=True),
    Route("POST", "registered-models/alias", asks.Registered, set_alias, writes=True),
    Route("DELETE", "registered-models/alias", asks.Registered, delete_alias, writes=True),
    Route("GET", "registered-models/alias", asks.Registered, by_alias),
)
