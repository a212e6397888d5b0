"""Contracts over HTTP: quarantine, inferred rules, ODCS documents, erasure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain import requests
from conveyor.web.auth import Guard

Body = Callable[[Request, type[Any]], Awaitable[Any]]
Answer = Callable[..., Response]
_BASE = "/projects/{project}/data/{dataset:path}"


def contracts(router: APIRouter, desk: Desk, guard: Guard, body: Body, answer: Answer) -> None:
    """Acts are recorded with who asked: the token's name, and what the client says of its user."""
    entry = _BASE + "/quarantine/{entry}"

    async def asked(request: Request, type_: type[Any]) -> Any:
        wanted = await body(request, type_)
        token = guard.who(request)
        return replace(wanted, by=f"{wanted.by} (token {token})" if wanted.by else f"token {token}")

    @router.get(_BASE + "/contract")
    def written(project: str, dataset: str) -> Response:
        return answer(desk.contracts.written(project, dataset))

    @router.get(_BASE + "/contract/inferred")
    def inferred(project: str, dataset: str) -> Response:
        return answer(desk.contracts.inferred(project, dataset))

    @router.get(_BASE + "/erasures")
    def erasures(project: str, dataset: str) -> Response:
        return answer(desk.erasures.past(project, dataset))

    @router.post(_BASE + "/erasures/{id_}/lift")
    async def lift(project: str, dataset: str, id_: str, request: Request) -> Response:
        wanted = await asked(request, requests.Lift)
        return answer(await run_in_threadpool(desk.erasures.lift, project, dataset, id_, wanted))

    @router.post(_BASE + "/erase")
    async def erase(project: str, dataset: str, request: Request) -> Response:
        wanted = await asked(request, requests.Erase)
        return answer(await run_in_threadpool(desk.erasures.erase, project, dataset, wanted))

    @router.get(_BASE + "/quarantine-past")
    def past(project: str, dataset: str, limit: int = 50) -> Response:
        return answer(desk.quarantines.past(project, dataset, limit))

    @router.get(entry)
    def show(project: str, dataset: str, entry: str, limit: int = 20) -> Response:
        return answer(desk.quarantines.show(project, dataset, entry, limit))

    @router.post(entry + "/release")
    async def release(project: str, dataset: str, entry: str, request: Request) -> Response:
        wanted = await asked(request, requests.ReleaseRows)
        return answer(await run_in_threadpool(desk.quarantines.release, project, dataset, entry, wanted), 202)

    @router.post(entry + "/drop")
    async def drop(project: str, dataset: str, entry: str, request: Request) -> Response:
        wanted = await asked(request, requests.DropRows)
        return answer(await run_in_threadpool(desk.quarantines.drop, project, dataset, entry, wanted))
