"""Labels over HTTP: sent, counted, listed; and one prediction with its label."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.web.api_rows import body_of_rows
from conveyor.web.auth import Guard

_BASE = "/projects/{project}/models/{model}/labels"


def labels(desk: Desk, guard: Guard, answer: Callable[..., Response]) -> APIRouter:
    async def asks(request: Request) -> None:
        guard(request)

    router = APIRouter(prefix="/v1", dependencies=[Depends(asks)])

    async def take(project: str, model: str, request: Request) -> Response:
        body = await body_of_rows(request)
        media, key = request.headers.get("content-type", ""), request.headers.get("idempotency-key", "")
        arguments: tuple[Any, ...] = (project, model, media, key, body)
        written = await run_in_threadpool(desk.labels.accept, *arguments)
        return answer(await asyncio.wrap_future(written), 202)

    @router.post("/models/{model}/labels")
    async def of_the_only_project(model: str, request: Request, project: str = "") -> Response:
        return await take(project, model, request)

    @router.post(_BASE)
    async def of_project(project: str, model: str, request: Request) -> Response:
        return await take(project, model, request)

    @router.get(_BASE)
    def list_(project: str, model: str, limit: int = 50) -> Response:
        return answer(desk.labels.list(project, model, min(limit, 10_000)))

    @router.get("/predictions/{id_:path}")
    def prediction(id_: str, project: str = "", model: str = "") -> Response:
        return answer(desk.labels.explain(project, model, id_))

    @router.get(_BASE + "/status")
    def status(project: str, model: str) -> Response:
        return answer(desk.labels.status(project, model))

    return router
