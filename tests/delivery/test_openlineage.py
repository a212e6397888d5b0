"""OpenLineage events at a real receiver: as its own client's classes say, in order, at least once, over any failure."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import attr
import pytest
from openlineage.client import event_v2, facet_v2

from conveyor.config.settings import Settings
from conveyor.delivery.openlineage import OpenLineage
from conveyor.domain.dataset import ColumnProfile, DatasetProfile, DatasetVersion
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.domain.state import Arrival, Quarantined
from conveyor.engine.context import Context
from conveyor.stores.collections import ARRIVALS, DATASET_VERSIONS, QUARANTINE, RUNS

from .conftest import START, Plane

DATA = '[data.days]\nsource = "shop:days"\nevery = "1m"\nrules = { amount = { min = 0, not_null = true } }\n'
FACETS: dict[str, Any] = {
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "sourceCodeLocation": facet_v2.source_code_location_job.SourceCodeLocationJobFacet,
    "parent": facet_v2.parent_run.ParentRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "dataQualityAssertions": facet_v2.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
    "dataQualityMetrics": facet_v2.data_quality_metrics_dataset.DataQualityMetricsDatasetFacet,
    "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
}
INNER: dict[str, Any] = {
    "fields": facet_v2.schema_dataset.SchemaDatasetFacetFields,
    "assertions": facet_v2.data_quality_assertions_dataset.Assertion,
    "columnMetrics": facet_v2.data_quality_metrics_dataset.ColumnMetrics,
}


class Receiver:
    """Answers with `status`; keeps what it took with 200."""

    def __init__(self) -> None:
        self.status, self.taken = 200, list[dict[str, Any]]()
        self.asked, self.keys = 0, set[str | None]()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.asked += 1
                receiver.keys.add(self.headers.get("authorization"))
                if receiver.status == 200:
                    receiver.taken.append(body)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def started(plane: Plane, url: str) -> OpenLineage:
    context = plane.context()
    context.settings = replace(context.settings, openlineage_url=url, api_port=1)
    assert isinstance(context.settings, Settings)
    return OpenLineage(context)


def run(kind: str, number: int, **more: Any) -> Run:
    params = {"build": "shop/b", "dataset": "days", "arrivals": ["shop/days/x"], "data": {"days": 1}, "model": "fraud"}
    subject = "shop/fraud" if kind == "train" else "shop/days"
    return Run(f"{kind}-{number}", "shop", kind, subject, params, (), START, **more)


def tell(context: Context, run: Run) -> None:
    """As the engine does: the run, and the event that it began or ended."""
    with context.records.transaction() as tx:
        tx.put(RUNS, run)
        type_ = "run.started" if run.state is RunState.RUNNING else f"run.{run.state}"
        tx.append(context.event(type_, f"run/{run.id}", "shop", kind=run.kind, about=run.subject))


def history(plane: Plane) -> None:
    """An ingest with rows in quarantine, a fetch that failed, a training with two steps, and a build."""
    context = plane.contexts[-1]
    plane.build(DATA)
    profile = DatasetProfile(
        5, {"amount": ColumnProfile("Float64", 1, 4, 0.5, 9.0, 3.0), "at": ColumnProfile("Date", 0, 2)}
    )
    schema = {"amount": "Float64", "at": "Date"}
    version = DatasetVersion("shop", "days", 1, None, "m", 5, 9, schema, START, profile=profile)
    with context.records.transaction() as tx:
        tx.put(ARRIVALS, Arrival("shop/days/x", "shop", "days", "a.csv", "x", START, "taken"))
        tx.put(DATASET_VERSIONS, version)
        tx.put(
            QUARANTINE, Quarantined("shop/days/x/ingest-1", "shop/days", "a.csv", 2, {"amount:min": 2}, "q", 1, START)
        )
    later = START + timedelta(minutes=1)
    steps = (
        Step("features", state=StepState.SUCCEEDED, started=START, ended=later),
        Step("train", state=StepState.FAILED, started=START, ended=later, error="ValueError: no rows"),
    )
    for ended in (
        run("ingest", 1, state=RunState.SUCCEEDED, ended=later, result={"version": 1, "new_rows": 3}),
        run("fetch", 1, state=RunState.FAILED, ended=later, error="the shop is closed"),
        replace(run("train", 1, state=RunState.FAILED, ended=later, error="train: no rows"), steps=steps),
        run("train", 2, state=RunState.SUCCEEDED, ended=later, result={"version": 3}),
        run("build", 1, state=RunState.SUCCEEDED, ended=later),
        run("ingest", 2, state=RunState.CANCELLED, ended=later),
    ):
        tell(context, replace(ended, state=RunState.RUNNING, ended=None, result={}))
        tell(context, ended)


def check(event: dict[str, Any]) -> None:
    """Each part as the specification's own classes take it; they refuse what they do not know or miss."""
    facets = [*event["run"]["facets"].items(), *event["job"]["facets"].items()]
    for kind, class_ in (("inputs", event_v2.InputDataset), ("outputs", event_v2.OutputDataset)):
        for data in event[kind]:
            facets += [*data["facets"].items(), *data.get("outputFacets", {}).items()]
            class_(namespace=data["namespace"], name=data["name"])
    for name, facet in facets:
        class_ = FACETS[name]
        assert facet["_schemaURL"] == class_._get_schema(), name
        content = {key: value for key, value in facet.items() if not key.startswith("_")}
        for key, value in content.items():
            for one in (value if isinstance(value, list) else value.values()) if key in INNER else ():
                INNER[key](**one)
        assert set(content) <= {field.name for field in attr.fields(class_)}, name
        class_(**content)
    about, job = event["run"], event["job"]
    event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        run=event_v2.Run(runId=about["runId"]),
        job=event_v2.Job(namespace=job["namespace"], name=job["name"]),
    )
    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}


def names(receiver: Receiver) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in receiver.taken]


WANTED = [
    ("ingest.days", "START"), ("ingest.days", "COMPLETE"), ("fetch.days", "START"), ("fetch.days", "FAIL"),
    ("train.fraud", "START"), ("train.fraud.features", "START"), ("train.fraud.features", "COMPLETE"),
    ("train.fraud.train", "START"), ("train.fraud.train", "FAIL"), ("train.fraud", "FAIL"),
    ("train.fraud", "START"), ("train.fraud", "COMPLETE"), ("ingest.days", "START"), ("ingest.days", "ABORT"),
]  # fmt: skip


def test_events_are_as_the_specification_says(plane: Plane, receiver: Receiver) -> None:
    sender = started(plane, f"http://:sesame@127.0.0.1:{receiver.port}/api/v1/lineage")
    history(plane)
    plane.until(sender.turn, lambda: len(receiver.taken) == len(WANTED))
    for event in receiver.taken:
        check(event)
    assert names(receiver) == WANTED
    assert receiver.keys == {"Bearer sesame"}
    (written,) = receiver.taken[1]["outputs"]
    assert written["facets"]["version"]["datasetVersion"] == "1"
    assert written["facets"]["dataQualityMetrics"]["columnMetrics"]["amount"] == {
        "nullCount": 1, "distinctCount": 4, "min": 0.5, "max": 9.0,
    }  # fmt: skip
    checks = {
        (one["column"], one["assertion"], one["success"])
        for one in written["facets"]["dataQualityAssertions"]["assertions"]
    }
    assert checks == {("amount", "min", False), ("amount", "not_null", True)}
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert receiver.taken[1]["job"]["facets"]["sourceCodeLocation"]["version"] == "c"
    step, whole = receiver.taken[8], receiver.taken[9]
    assert step["run"]["facets"]["parent"]["run"]["runId"] == whole["run"]["runId"]
    assert step["run"]["facets"]["errorMessage"]["message"] == "ValueError: no rows"
    assert receiver.taken[11]["outputs"][0]["name"] == "model.fraud"


def test_nothing_is_lost_over_failures_and_restarts(plane: Plane, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.port}/"
    sender, receiver.status = started(plane, url), 503
    history(plane)
    plane.until(sender.turn, lambda: receiver.asked == 3)
    assert receiver.taken == []
    (failed,) = plane.events("lineage.failed")
    assert failed.data["again"]
    assert "503" in failed.data["error"]
    again = started(plane, url)  # another control plane
    receiver.status = 200
    plane.until(again.turn, lambda: len(receiver.taken) == len(WANTED))
    assert names(receiver) == WANTED
    receiver.status = 422
    tell(plane.contexts[-1], run("ingest", 9))
    plane.until(again.turn, lambda: len(plane.events("lineage.failed")) == 2)
    assert plane.events("lineage.failed")[1].data["again"] is False
    receiver.status = 200
    tell(plane.contexts[-1], run("ingest", 10))
    plane.until(again.turn, lambda: len(receiver.taken) == len(WANTED) + 1)
    plane.until(again.turn, lambda: again._sending is None)  # that it was taken is on record
    third = started(plane, url)
    for _ in range(20):
        plane.until(third.turn, lambda: True)
    assert len(receiver.taken) == len(WANTED) + 1


def test_into_a_file(plane: Plane) -> None:
    path = plane.root / "told" / "lineage.ndjson"
    sender = started(plane, f"file://{path}")
    history(plane)
    lines: Callable[[], list[str]] = lambda: path.read_text().splitlines() if path.exists() else []  # noqa: E731
    plane.until(sender.turn, lambda: len(lines()) == len(WANTED))
    for line in lines():
        check(json.loads(line))
