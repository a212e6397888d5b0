"""Alerts over HTTP. Who did something is on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests
from conveyor.web.auth import Guard


def alerts(
    router: APIRouter,
    desk: Desk,
    guard: Guard,
    body_of: Callable[[Request, type[Any]], Awaitable[Any]],
    answer: Callable[..., Response],
) -> None:
    base = "/projects/{project}/alerts"

    async def asked(request: Request, type_: type[Any]) -> Any:
        return replace(await body_of(request, type_), by=f"token {guard.who(request)}")

    @router.get(base)
    def listed(project: str, state: str = "open", limit: int = 50) -> Response:
        return answer(desk.alerts.list(project, state, limit))

    @router.get(base + "/{id_}")
    def show(project: str, id_: str) -> Response:
        return answer(desk.alerts.show(project, id_))

    @router.post(base + "/{id_}/ack")
    async def ack(project: str, id_: str, request: Request) -> Response:
        wanted = await asked(request, requests.AckAlert)
        return answer(await run_in_threadpool(desk.alerts.ack, project, id_, wanted))

    @router.post(base + "/{id_}/mute")
    async def mute(project: str, id_: str, request: Request) -> Response:
        wanted = await asked(request, requests.MuteAlerts)
        return answer(await run_in_threadpool(desk.alerts.mute, project, id_, wanted))

    @router.get("/projects/{project}/notify")
    def receivers(project: str) -> Response:
        return answer(desk.notify.list(project))

    @router.post("/projects/{project}/notify/{name}/test")
    async def test(project: str, name: str) -> Response:
        return answer(await run_in_threadpool(desk.notify.test, project, name))
