"""Batch scoring and feature parity over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests


def scores(
    router: APIRouter,
    desk: Desk,
    body_of: Callable[[Request, type[Any]], Awaitable[Any]],
    answer: Callable[..., Response],
) -> None:
    @router.post("/projects/{project}/models/{model}/score")
    async def score(project: str, model: str, request: Request) -> Response:
        body = await body_of(request, requests.ScoreDataset)
        return answer(await run_in_threadpool(desk.scores.start, project, model, body), 202)

    @router.post("/projects/{project}/models/{model}/parity")
    async def parity(project: str, model: str, request: Request) -> Response:
        body = await body_of(request, requests.CheckParity)
        return answer(await run_in_threadpool(desk.parity.start, project, model, body), 202)
