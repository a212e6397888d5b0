"""Webhooks of GitHub and GitLab. They show no token: the signature says who sends."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests
from conveyor.domain.webhook import Delivery
from conveyor.errors import InputRejected
from conveyor.web.api import answer, body_of
from conveyor.web.auth import Guard

_LARGEST = 5 << 20


def hooks(desk: Desk, guard: Guard) -> APIRouter:
    """`/v1/hooks/...` for everybody who can sign; `/v1/remotes` for those with a token."""
    router = APIRouter(prefix="/v1")
    inside = [Depends(guard)]

    @router.post("/hooks/{sender}/{project}")
    async def hook(sender: Literal["github", "gitlab"], project: str, request: Request) -> Response:
        delivery = Delivery({name.lower(): value for name, value in request.headers.items()}, await _limited(request))
        return answer(await run_in_threadpool(desk.remotes.hook, sender, project, delivery), 202)

    @router.get("/remotes", dependencies=inside)
    def remotes() -> Response:
        return answer(desk.remotes.list())

    @router.put("/remotes/{project}", dependencies=inside)
    async def add(project: str, request: Request) -> Response:
        asked = await body_of(request, requests.AddRemote)
        response = answer(await run_in_threadpool(desk.remotes.add, project, asked), 201)
        response.headers["cache-control"] = "no-store"
        return response

    @router.delete("/remotes/{project}", dependencies=inside)
    def remove(project: str) -> Response:
        return answer(desk.remotes.remove(project))

    return router


async def _limited(request: Request) -> bytes:
    """The body, read no further than anyone has reason to send."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise InputRejected("the webhook's body is larger than 5 MB", hint="Send push events only.")
    return body
