"""Versions of datasets as tables over HTTP: what a reference names, its objects, and tags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from conveyor.delivery.desk import Desk
from conveyor.domain import requests


def tables(
    router: APIRouter,
    desk: Desk,
    body_of: Callable[[Request, type[Any]], Awaitable[Any]],
    answer: Callable[[Any], Response],
) -> None:
    base = "/projects/{project}/data/{dataset:path}"

    @router.get(base + "/table")
    def table(project: str, dataset: str, version: str = "latest") -> Response:
        return answer(desk.tables.table(project, dataset, version))

    @router.get(base + "/table/objects/{digest}")
    def part(project: str, dataset: str, digest: str, version: str = "latest") -> Response:
        path = desk.tables.object(project, dataset, version, digest)
        return FileResponse(path, media_type="application/octet-stream")

    @router.get(base + "/tags")
    def tags(project: str, dataset: str) -> Response:
        return answer(desk.tables.tags(project, dataset))

    @router.get(base + "/tags/moves")
    def tag_moves(project: str, dataset: str, limit: int = 50) -> Response:
        return answer(desk.tables.tag_moves(project, dataset, limit))

    @router.put(base + "/tags/{tag}")
    async def tag(project: str, dataset: str, tag: str, request: Request) -> Response:
        body = await body_of(request, requests.TagVersion)
        return answer(await run_in_threadpool(desk.tables.tag, project, dataset, tag, body))
