"""Secrets and tokens over HTTP. A secret's value comes in and never goes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests
from conveyor.domain.secret import Secret

Body = Callable[[Request, type[Any]], Awaitable[Any]]
Answer = Callable[..., Response]


def secrets_and_tokens(router: APIRouter, desk: Desk, body: Body, answer: Answer) -> None:
    """The guard asks for the admin role on these paths, see `domain.token.needed`."""
    held = "/projects/{project}/environments/{environment}/secrets/{name}"

    @router.get("/projects/{project}/secrets")
    def listing(project: str, environment: str = "") -> Response:
        return answer(desk.secrets.list(project, environment))

    @router.put(held)
    async def put(project: str, environment: str, name: str, request: Request) -> Response:
        value = Secret((await body(request, requests.SetSecret)).value)
        return answer(await run_in_threadpool(desk.secrets.put, project, environment, name, value))

    @router.delete(held)
    def remove(project: str, environment: str, name: str) -> Response:
        return answer(desk.secrets.remove(project, environment, name))

    @router.get("/tokens")
    def tokens() -> Response:
        return answer(desk.tokens.list())

    @router.post("/tokens")
    async def create(request: Request) -> Response:
        wanted = await body(request, requests.CreateToken)
        response = answer(await run_in_threadpool(desk.tokens.create, wanted), 201)
        response.headers["cache-control"] = "no-store"
        return response

    @router.delete("/tokens/{name}")
    def remove_token(name: str) -> Response:
        return answer(desk.tokens.remove(name))
