"""Rows by request: the body is read up to its bound, and answered for once it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from conveyor.delivery.desk import Desk
from conveyor.domain.rows import LARGEST
from conveyor.errors import InputRejected, TooLarge

_INLINE = 64 * 1024  # bytes that are checked faster than a thread is woken


def rows(router: APIRouter, desk: Desk, answer: Callable[..., Response]) -> None:
    async def take(project: str, dataset: str, request: Request) -> Response:
        body = await _body(request)
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


async def _body(request: Request) -> bytes:
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
