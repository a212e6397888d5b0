"""Sweeps over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests


def sweeps(
    router: APIRouter,
    desk: Desk,
    body_of: Callable[[Request, type[Any]], Awaitable[Any]],
    answer: Callable[..., Response],
) -> None:
    base = "/projects/{project}/sweeps"

    @router.get(base)
    def list_sweeps(project: str, limit: int = 50) -> Response:
        return answer(desk.sweeps.list(project, limit))

    @router.get(base + "/{name}")
    def sweep(project: str, name: str) -> Response:
        return answer(desk.sweeps.show(project, name))

    @router.post(base + "/{name}/start")
    async def start_sweep(project: str, name: str) -> Response:
        return answer(await run_in_threadpool(desk.sweeps.start, project, name), 202)

    @router.post(base + "/{name}/cancel")
    async def cancel_sweep(project: str, name: str, request: Request) -> Response:
        body = await body_of(request, requests.Cancel)
        return answer(await run_in_threadpool(desk.sweeps.cancel, project, name, body), 202)
