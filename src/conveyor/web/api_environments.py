"""Environments in the API: what there is, and what a person may decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests

Body = Callable[[Request, type[Any]], Awaitable[Any]]
Answer = Callable[..., Response]


def environments(router: APIRouter, desk: Desk, body: Body, answer: Answer) -> None:
    base = "/projects/{project}/environments"
    one = base + "/{environment}"

    @router.get(base)
    def list_(project: str) -> Response:
        return answer(desk.environments.list(project))

    @router.post(one + "/promote")
    async def promote(project: str, environment: str, request: Request) -> Response:
        asked = await body(request, requests.Promote)
        return answer(await run_in_threadpool(desk.environments.promote, project, environment, asked), 202)

    @router.post(one + "/approve")
    async def approve(project: str, environment: str, request: Request) -> Response:
        asked = await body(request, requests.Approve)
        return answer(await run_in_threadpool(desk.environments.approve, project, environment, asked), 202)

    @router.post(one + "/reject")
    async def reject(project: str, environment: str, request: Request) -> Response:
        asked = await body(request, requests.Reject)
        return answer(await run_in_threadpool(desk.environments.reject, project, environment, asked), 202)

    @router.post(one + "/remove")
    async def remove(project: str, environment: str, request: Request) -> Response:
        asked = await body(request, requests.Remove)
        return answer(await run_in_threadpool(desk.environments.remove, project, environment, asked), 202)
