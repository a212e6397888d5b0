"""Erasure: a subject's rows go from all versions, the quarantine and the originals, in one transaction; then the bytes.

Before the transaction there is the old state and some objects that nothing names; after it there is the new state and
some objects that nothing names. Whoever is killed in between starts again, and finds what is left to do.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from conveyor.delivery import sweep
from conveyor.delivery.arrivals import table_of
from conveyor.delivery.erasing import Found, Hits, Plan, Planner, Subject, counted, look, subject_of
from conveyor.delivery.lookup import latest_build
from conveyor.delivery.quarantine import put
from conveyor.domain import requests, wire
from conveyor.domain.erasure import Erasure, ErasureView, TouchedModel
from conveyor.domain.model import ModelVersion
from conveyor.domain.project import DataConfig
from conveyor.domain.references import INTO_DATASETS, reads
from conveyor.domain.run import RunState
from conveyor.domain.source import versions_of
from conveyor.domain.state import Act
from conveyor.domain.step import TrainingReport
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.sdk import erased
from conveyor.stores.collections import ARRIVALS, BUILDS, DATASET_VERSIONS, ERASURES, MODEL_VERSIONS, RUNS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

_TRIES = 5
_TRAIN, _REPORT = "train", "training.json"


class EraseDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def past(self, project: str, dataset: str) -> list[Erasure]:
        with self._context.records.read() as tx:
            table_of(latest_build(tx, project), project, dataset)
            return tx.find(ERASURES, where={"dataset": f"{project}/{dataset}"}, limit=1000)

    def lift(self, project: str, dataset: str, id_: str, request: requests.Lift) -> Message:
        context, by = self._context, request.by or "a person"
        with context.records.transaction() as tx:
            erasure = tx.get(ERASURES, id_)
            if erasure is None or erasure.dataset != f"{project}/{dataset}":
                raise NotFound(
                    f"{dataset} has no erasure {id_!r}", hint=f"`conveyor data erasures {dataset}` names them."
                )
            if erasure.lifted:
                return Message(f"erasure {id_} was lifted already: {erasure.lifted}")
            said = f"{context.clock.now():%Y-%m-%d %H:%M} UTC by {by}" + (f": {request.why}" if request.why else "")
            tx.put(ERASURES, replace(erasure, lifted=said))
            subject = f"data/{erasure.dataset}"
            tx.append(context.event("data.erasure_lifted", subject, project, erasure=id_, by=by, why=request.why))
        return Message(f"erasure {id_} is lifted: such rows may come again; what is in quarantine can be released")

    def erase(self, project: str, dataset: str, request: requests.Erase) -> ErasureView:
        """Raises Conflict when the dataset changes again and again while its rows are looked through."""
        for _ in range(_TRIES):
            with self._context.records.read() as tx:
                data = table_of(latest_build(tx, project), project, dataset)
                found = look(tx, f"{project}/{dataset}")
            subject = subject_of(found.versions[-1] if found.versions else None, request.column, request.value)
            view = self._once(project, data, found, subject, request)
            if view is not None:
                break
        else:
            raise Conflict(f"{dataset} changed while its rows were looked through", hint="Erase again.")
        if request.now and not request.dry_run:
            freed = sweep.free(self._context, f"{project}/{dataset}")
            view = replace(view, freed=freed)
        return view

    def _once(
        self, project: str, data: DataConfig, found: Found, subject: Subject, request: requests.Erase
    ) -> ErasureView | None:
        """None when the dataset was changed meanwhile."""
        context = self._context
        now, by = context.clock.now(), request.by or "a person"
        salt = found.erasures[0].salt if found.erasures else secrets.token_hex(32)
        digest = erased.digest(subject.text, salt)
        known = any(
            (each.column, each.digest) == (subject.column, digest) and not each.lifted for each in found.erasures
        )
        id_ = context.new_id()
        keep = digest_bytes if request.dry_run else context.objects.put
        planner = Planner(context.objects, data, subject, id_, Act("erased", 0, {}, now, by, request.why), keep)
        plan = planner.plan(found)
        dataset = f"{project}/{data.name}"
        erasure = Erasure(
            id=id_,
            dataset=dataset,
            column=subject.column,
            salt=salt,
            digest=digest,
            at=now,
            by=by,
            why=request.why,
            rows=plan.rows,
            versions=tuple(sorted(plan.hits)),
            quarantined=plan.quarantined,
            originals=tuple(arrival.file for arrival in plan.arrivals),
            unread=tuple(plan.unread),
            objects=tuple(plan.objects),
            models=self._models(project, data, plan),
        )
        waiting = sum(arrival.state in ("waiting", "ingesting") for arrival in found.arrivals)
        view = ErasureView(erasure, request.dry_run, known, waiting, len(plan.objects))
        nothing = plan.empty and known
        if request.dry_run or nothing:
            return view
        committed = self._commit(found, plan, erasure)
        return replace(view, erasure=committed) if committed else None

    def _commit(self, found: Found, plan: Plan, erasure: Erasure) -> Erasure | None:
        context, project = self._context, erasure.dataset.partition("/")[0]
        with context.records.transaction() as tx:
            if look(tx, erasure.dataset) != found:
                return None
            erasure = replace(erasure, at=context.clock.now())
            open_runs = tx.find(RUNS, where={"project": project, "state": RunState.RUNNING}, limit=10_000)
            under_way = [run.id for run in open_runs if run.kind not in INTO_DATASETS and reads(run, erasure)]
            erasure = replace(erasure, runs=tuple(under_way))
            for version in plan.versions:
                tx.put(DATASET_VERSIONS, version)
            for entry in plan.entries:
                put(tx, entry)
            for arrival in plan.arrivals:
                tx.put(ARRIVALS, arrival)
            tx.put(ERASURES, erasure)
            tx.append(
                context.event(
                    "data.erased",
                    f"data/{erasure.dataset}",
                    project,
                    erasure=erasure.id,
                    column=erasure.column,
                    digest=erasure.digest,
                    rows=erasure.rows,
                    quarantined=erasure.quarantined,
                    versions=list(erasure.versions),
                    originals=len(erasure.originals),
                    models=[model.id for model in erasure.models if model.touched],
                    by=erasure.by,
                    why=erasure.why,
                )
            )
        return erasure

    def _models(self, project: str, data: DataConfig, plan: Plan) -> tuple[TouchedModel, ...]:
        with self._context.records.read() as tx:
            versions = [
                version
                for version in tx.find(MODEL_VERSIONS, limit=100_000, newest=False)
                if version.project == project and not versions_of(version.data, data.name).isdisjoint(plan.hits)
            ]
            return tuple(self._model(tx, data, version, _hits(version, data, plan)) for version in versions)

    def _model(self, tx: Transaction, data: DataConfig, version: ModelVersion, hits: list[Hits]) -> TouchedModel:
        """Exact where the dataset is the training's first input, and its report says which rows it cut."""
        run = tx.get(RUNS, version.run)
        steps = {step.name: step for step in run.steps} if run else {}
        report = steps[_TRAIN].outputs.get(_REPORT) if _TRAIN in steps else None
        build = tx.get(BUILDS, str(run.params.get("build"))) if run else None
        model = build.config.models.get(version.name) if build else None
        try:
            cut = wire.from_json(self._context.objects.get(report), TrainingReport) if report else None
        except NotFound:
            cut = None
        if cut is None or model is None:
            return TouchedModel(version.id, version.status, exact=False)
        timed = all(at is not None for each in hits for at in each.times)
        return TouchedModel(
            version.id,
            version.status,
            exact=timed and model.inputs[:1] == (f"data.{data.name}",),
            training=counted(hits, cut.training.after, cut.training.until),
            holdout=counted(hits, cut.holdout.after, cut.holdout.until),
        )


def _hits(version: ModelVersion, data: DataConfig, plan: Plan) -> list[Hits]:
    """In all versions of the dataset that the model was trained on; the same object in two of them is hit once."""
    found = (plan.hits.get(number, []) for number in sorted(versions_of(version.data, data.name)))
    return list({id(hits): hits for each in found for hits in each}.values())
