"""Experiments, as MLflow's clients ask for them."""

from __future__ import annotations

from conveyor.domain.track_filter import ATTRIBUTE, TAG, parse, parse_order
from conveyor.domain.tracked import ACTIVE, DELETED, Pair
from conveyor.errors import InputRejected
from conveyor.stores.tracking import experiments
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import asks, checks, needs, paging
from conveyor.web.mlflow.service import Answer, Route, Service

_VIEWS = {"ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,), "ALL": (ACTIVE, DELETED)}
_NUMBERED = {1: "ACTIVE_ONLY", 2: "DELETED_ONLY", 3: "ALL"}
_MOST = 50_000


def stages(view: str | int) -> tuple[str, ...]:
    found = _VIEWS.get(_NUMBERED.get(view, "") if isinstance(view, int) else view)
    if found is None:
        raise InputRejected(f"Invalid view type {view!r}", hint="One of ACTIVE_ONLY, DELETED_ONLY, ALL.")
    return found


def create(service: Service, session: Session, ask: asks.CreateExperiment) -> Answer:
    if not ask.name.strip():
        raise InputRejected("Invalid experiment name: it is empty", hint="Give it a name.")
    if len(ask.name) > 500:
        raise InputRejected("Invalid experiment name: longer than 500 characters", hint="Take a shorter one.")
    location = ask.artifact_location
    if location and not location.startswith("mlflow-artifacts:"):
        raise InputRejected(
            f"artifact_location {location[:100]!r} is not kept here", hint="Leave it out: Conveyor keeps the artifacts."
        )
    return {"experiment_id": experiments.create(session, ask.name, service.now(), tags=ask.tags)}


def get(_: Service, session: Session, ask: asks.ExperimentId) -> Answer:
    return {"experiment": experiments.get(session, ask.experiment_id)}


def by_name(_: Service, session: Session, ask: asks.ExperimentName) -> Answer:
    return {"experiment": experiments.by_name(session, ask.experiment_name)}


def search(_: Service, session: Session, ask: asks.Search) -> Answer:
    clauses = parse(ask.filter, experiments.KEYS, (ATTRIBUTE, TAG))
    orders = [parse_order(order, experiments.KEYS) for order in ask.order_by]
    limit, start = checks.at_most(ask.max_results, 1000, _MOST), paging.offset(ask.page_token)
    found = experiments.search(session, clauses, orders, stages(ask.view_type), limit + 1, start)
    return paging.page("experiments", found, limit, start)


def rename(service: Service, session: Session, ask: asks.RenameExperiment) -> Answer:
    experiments.rename(session, ask.experiment_id, ask.new_name, service.now())
    return {}


def delete(service: Service, session: Session, ask: asks.ExperimentId) -> Answer:
    needs.refuse_experiment(service, session, ask.experiment_id)
    experiments.move(session, ask.experiment_id, DELETED, service.now())
    return {}


def restore(service: Service, session: Session, ask: asks.ExperimentId) -> Answer:
    experiments.move(session, ask.experiment_id, ACTIVE, service.now())
    return {}


def set_tag(_: Service, session: Session, ask: asks.ExperimentTag) -> Answer:
    experiments.get(session, ask.experiment_id)
    experiments.set_tag(session, ask.experiment_id, checks.tags([Pair(ask.key, ask.value)])[0])
    return {}


def delete_tag(_: Service, session: Session, ask: asks.ExperimentTag) -> Answer:
    experiments.delete_tag(session, ask.experiment_id, ask.key)
    return {}


ROUTES = (
    Route("POST", "experiments/create", asks.CreateExperiment, create, writes=True),
    Route("GET", "experiments/get", asks.ExperimentId, get),
    Route("GET", "experiments/get-by-name", asks.ExperimentName, by_name),
    Route("POST", "experiments/search", asks.Search, search),
    Route("GET", "experiments/search", asks.Search, search),
    Route("POST", "experiments/update", asks.RenameExperiment, rename, writes=True),
    Route("POST", "experiments/delete", asks.ExperimentId, delete, writes=True),
    Route("POST", "experiments/restore", asks.ExperimentId, restore, writes=True),
    Route("POST", "experiments/set-experiment-tag", asks.ExperimentTag, set_tag, writes=True),
    Route("POST", "experiments/delete-experiment-tag", asks.ExperimentTag, delete_tag, writes=True),
)
