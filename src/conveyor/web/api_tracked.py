"""Tracked runs over HTTP for Conveyor's own command line and pages; and which pickles an admin trusts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.kept import trust
from conveyor.delivery.pickle_trials import PickleTrials
from conveyor.domain import requests
from conveyor.domain.pickle_trial import PickleTrial
from conveyor.domain.views import Message
from conveyor.web.auth import Guard
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.tracked import Tracked
from conveyor.web.mlflow.version_files import of_version

Body = Callable[[Request, type[Any]], Awaitable[Any]]


def tracked(service: Service, guard: Guard, body: Body, answer: Callable[..., Response]) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(guard)])
    desk, trials = Tracked(service), PickleTrials(service.context)

    @router.get("/tracked/experiments")
    def experiments() -> Response:
        return answer(desk.experiments())

    @router.post("/tracked/search")
    async def search(request: Request) -> Response:
        return answer(await run_in_threadpool(desk.search, await body(request, requests.TrackSearch)))

    @router.get("/tracked/runs/{run}")
    def one(run: str) -> Response:
        return answer(desk.run(run))

    @router.get("/tracked/runs/{run}/curve")
    def curve(run: str, metric: str) -> Response:
        return answer(desk.curve(run, metric))

    @router.post("/trusted")
    async def trusted(request: Request) -> Response:
        asked = await body(request, requests.TrustFile)
        entry = await run_in_threadpool(trust, service.context, asked.digest, guard.who(request), asked.reason)
        return answer(Message(f"Trusted: {entry.id[:12]}…, as {entry.by} says: {entry.reason}"), 201)

    @router.post("/pickles/try")
    async def tried(request: Request) -> Response:
        asked = await body(request, requests.TryPickle)

        def work() -> PickleTrial:
            return trials.run(asked, of_version(service, asked.model, asked.version))

        return answer(await run_in_threadpool(work))

    return router
