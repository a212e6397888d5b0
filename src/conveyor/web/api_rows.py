"""Rows by request: the body is read up to its bound, and answered for once it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain.rows import LARGEST
from conveyor.errors import InputRejected, TooLarge
from conveyor.web.auth import Guard

_INLINE = 64 * 1024  # bytes that are checked faster than a thread is woken


def rows(desk: Desk, guard: Guard, answer: Callable[..., Response]) -> APIRouter:
    """A router of its own: who asks is looked at here, and not in a thread, which costs more than the look."""

    async def asks(request: Request) -> None:
        guard(request)

    router = APIRouter(prefix="/v1", dependencies=[Depends(asks)])

    async def take(project: str, dataset: str, request: Request) -> Response:
        body = await body_of_rows(request)
        media, key = request.headers.get("content-type", ""), request.headers.get("idempotency-key", "")
        arguments: tuple[Any, ...] = (project, dataset, media, key, body)
        if len(body) <= _INLINE:
            written = desk.rows.accept(*arguments)
        else:
            written = await run_in_threadpool(desk.rows.accept, *arguments)
        return answer(await asyncio.wrap_future(written), 202)

    @router.post("/data/{dataset}/rows")
    async def of_the_only_project(dataset: str, request: Request, project: str = "") -> Response:
        return await take(project, dataset, request)

    @router.post("/projects/{project}/data/{dataset}/rows")
    async def of_project(project: str, dataset: str, request: Request) -> Response:
        return await take(project, dataset, request)

    return router


async def body_of_rows(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InputRejected("a compressed body is not read", hint="Send the rows as they are, or a compressed file.")
    said = request.headers.get("content-length", "")
    parts, size = [], int(said) if said.isdecimal() else 0
    if size <= LARGEST:
        size = 0
        async for part in request.stream():
            size += len(part)
            parts.append(part)
            if size > LARGEST:
                break
    if size > LARGEST:
        raise TooLarge(
            f"a request may hold {LARGEST:,} bytes of rows, this one has more",
            hint="Send several requests, each with an Idempotency-Key of its own; or the whole as a file.",
        )
    return b"".join(parts)
