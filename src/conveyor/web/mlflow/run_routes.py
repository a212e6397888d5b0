"""Runs, as MLflow's clients log and search them. `log_metric` and `log_batch` are the hot path."""

from __future__ import annotations

from typing import Any

from conveyor.domain.track_filter import parse, parse_order
from conveyor.domain.tracked import ACTIVE, DELETED, STATUSES, Pair, Point
from conveyor.errors import InputRejected
from conveyor.stores.tracking import documents, experiments, points, runs
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.search import Question, load, number_of_any
from conveyor.stores.tracking.search import search as search_runs
from conveyor.web.mlflow import asks, checks, needs, paging
from conveyor.web.mlflow.experiment_routes import stages
from conveyor.web.mlflow.logged_model_routes import add_points
from conveyor.web.mlflow.service import Answer, Route, Service

_MOST = 50_000
_NUMBERED = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


def create(service: Service, session: Session, ask: asks.CreateRun) -> Answer:
    tags = checks.tags(ask.tags)
    named = next((tag.value for tag in tags if tag.key == runs.NAME_TAG), "")
    if named and ask.run_name and named != ask.run_name:
        raise InputRejected(
            f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{ask.run_name}', mlflow.runName='{named}').",
            hint="Give one of them.",
        )
    uuid = service.id()
    name = ask.run_name or named or f"run-{uuid[:8]}"
    if not named:
        tags.append(Pair(runs.NAME_TAG, name))
    info = runs.create(session, uuid, ask.experiment_id, name, ask.user_id, ask.start_time or service.now(), tags)
    return {"run": {"info": info, "data": {"tags": tags}, "inputs": {}}}


def get(_: Service, session: Session, ask: asks.OfRun) -> Answer:
    return {"run": load(session, [number_of_any(session, ask.id)])[0]}


def search(_: Service, session: Session, ask: asks.Search) -> Answer:
    limit, start = checks.at_most(ask.max_results, 1000, _MOST), paging.offset(ask.page_token)
    question = Question(
        tuple(map(experiments.number_of, ask.experiment_ids)),
        tuple(parse(ask.filter)),
        tuple(parse_order(order) for order in ask.order_by),
        stages(ask.run_view_type),
        limit + 1,
        start,
    )
    return paging.page("runs", search_runs(session, question), limit, start)


def change(_: Service, session: Session, ask: asks.UpdateRun) -> Answer:
    status = _NUMBERED.get(ask.status) if isinstance(ask.status, int) else ask.status
    if status is not None and status not in STATUSES:
        raise InputRejected(f"Invalid run status {ask.status!r}", hint=f"One of {', '.join(STATUSES)}.")
    return {"run_info": runs.change(session, ask.id, status, ask.end_time, ask.run_name)}


def delete(service: Service, session: Session, ask: asks.OfRun) -> Answer:
    runs.number(session, ask.id)
    needs.refuse_run(service, session, ask.id)
    runs.move(session, ask.id, DELETED)
    return {}


def restore(_: Service, session: Session, ask: asks.OfRun) -> Answer:
    runs.move(session, ask.id, ACTIVE)
    return {}


def log_metric(_: Service, session: Session, ask: asks.LogMetric) -> Answer:
    run = runs.number(session, ask.id)
    point = Point(ask.key, ask.value, ask.timestamp, ask.step)
    checks.metrics((point,), session.memory.metrics)
    points.log(session, run, (point,))
    if ask.model_id:
        point.model_id, point.dataset_name, point.dataset_digest = ask.model_id, ask.dataset_name, ask.dataset_digest
        add_points(session, ask.id, (point,))
    return {}


def log_param(_: Service, session: Session, ask: asks.LogPair) -> Answer:
    runs.log_params(session, runs.number(session, ask.id), checks.params([Pair(ask.key, ask.value)]), ask.id)
    return {}


def set_tag(_: Service, session: Session, ask: asks.LogPair) -> Answer:
    runs.set_tags(session, runs.number(session, ask.id), checks.tags([Pair(ask.key, ask.value)]))
    return {}


def delete_tag(_: Service, session: Session, ask: asks.LogPair) -> Answer:
    runs.delete_tag(session, ask.id, ask.key)
    return {}


def log_batch(_: Service, session: Session, ask: asks.LogBatch) -> Answer:
    checks.batch(len(ask.metrics), len(ask.params), len(ask.tags))
    run = runs.number(session, ask.id)
    params, tags = checks.params(ask.params), checks.tags(ask.tags)
    checks.metrics(ask.metrics, session.memory.metrics)
    points.rows_of(session, run, ask.metrics)  # what is no number is refused before anything is written
    runs.log_params(session, run, params, ask.id)
    points.log(session, run, ask.metrics)
    runs.set_tags(session, run, tags)
    add_points(session, ask.id, [point for point in ask.metrics if point.model_id])
    return {}


def log_inputs(_: Service, session: Session, ask: asks.LogInputs) -> Answer:
    runs.number(session, ask.id)
    for each in ask.datasets:
        documents.put_dataset(session, ask.id, each)
    _log_models(session, documents.MODEL_INPUT, ask)
    return {}


def log_outputs(_: Service, session: Session, ask: asks.LogInputs) -> Answer:
    runs.number(session, ask.id)
    _log_models(session, documents.MODEL_OUTPUT, ask)
    return {}


def _log_models(session: Session, kind: str, ask: asks.LogInputs) -> None:
    for model in ask.models:
        documents.put(session, kind, f"{ask.id}/{model.get('model_id', '')}", ask.id, model)


def log_model(_: Service, session: Session, ask: asks.OfRun) -> Answer:
    """Older clients tell of a model so; what they tell lies beside the model as well, in its MLmodel."""
    runs.number(session, ask.id)
    return {}


def history(_: Service, session: Session, ask: asks.History) -> Answer:
    run = number_of_any(session, ask.id)
    start = paging.offset(ask.page_token)
    if ask.max_results is None:
        return {"metrics": points.history(session, run, ask.metric_key, None, start)}
    found = points.history(session, run, ask.metric_key, ask.max_results + 1, start)
    return paging.page("metrics", found, ask.max_results, start)


def histories(_: Service, session: Session, ask: asks.Histories) -> Answer:
    """Of several runs at once, for charts."""
    told: list[dict[str, Any]] = []
    for uuid in ask.run_ids[:100]:
        for point in points.curve(session, number_of_any(session, uuid), ask.metric_key, ask.max_results):
            if (ask.start_step or point.step) <= point.step <= (ask.end_step or point.step):
                told.append({"run_id": uuid, "key": point.key, "value": point.value} | _when(point))
    return {"metrics": told}


def _when(point: Point) -> dict[str, int]:
    return {"timestamp": point.timestamp, "step": point.step}


ROUTES = (
    Route("POST", "runs/create", asks.CreateRun, create, writes=True),
    Route("GET", "runs/get", asks.OfRun, get),
    Route("POST", "runs/search", asks.Search, search),
    Route("POST", "runs/update", asks.UpdateRun, change, writes=True),
    Route("POST", "runs/delete", asks.OfRun, delete, writes=True),
    Route("POST", "runs/restore", asks.OfRun, restore, writes=True),
    Route("POST", "runs/log-metric", asks.LogMetric, log_metric, writes=True),
    Route("POST", "runs/log-parameter", asks.LogPair, log_param, writes=True),
    Route("POST", "runs/set-tag", asks.LogPair, set_tag, writes=True),
    Route("POST", "runs/delete-tag", asks.LogPair, delete_tag, writes=True),
    Route("POST", "runs/log-batch", asks.LogBatch, log_batch, writes=True),
    Route("POST", "runs/log-inputs", asks.LogInputs, log_inputs, writes=True),
    Route("POST", "runs/outputs", asks.LogInputs, log_outputs, writes=True),
    Route("POST", "runs/log-model", asks.OfRun, log_model, writes=True),
    Route("GET", "metrics/get-history", asks.History, history),
    Route("GET", "metrics/get-history-bulk-interval", asks.Histories, histories),
)
