"""A project's own steps over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests


def steps(
    router: APIRouter,
    desk: Desk,
    body_of: Callable[[Request, type[Any]], Awaitable[Any]],
    answer: Callable[..., Response],
) -> None:
    base = "/projects/{project}/steps"

    @router.post(base + "/plan")
    async def plan_steps(project: str, request: Request) -> Response:
        body = await body_of(request, requests.RunSteps)
        return answer(await run_in_threadpool(desk.steps.plan, project, body))

    @router.post(base + "/run")
    async def run_steps(project: str, request: Request) -> Response:
        body = await body_of(request, requests.RunSteps)
        return answer(await run_in_threadpool(desk.steps.start, project, body), 202)
