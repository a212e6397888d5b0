"""The registry in the API: versions, aliases, promotion, removal. Who asked is on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from conveyor.delivery.desk import Desk
from conveyor.domain import requests
from conveyor.web.auth import Guard

Body = Callable[[Request, type[Any]], Awaitable[Any]]
Answer = Callable[..., Response]
_BASE = "/projects/{project}/models/{model}"


def _sent(path: Path) -> Iterator[bytes]:
    """A file's bytes, once: it has no name any more when the first are sent (a server may send a named file later)."""
    with path.open("rb") as file:
        path.unlink()
        while chunk := file.read(1 << 20):
            yield chunk


def models(router: APIRouter, desk: Desk, guard: Guard, body: Body, answer: Answer) -> None:
    registry = desk.registry
    alias_, version_ = _BASE + "/aliases/{alias}", _BASE + "/versions/{version}"

    async def asked(request: Request, type_: type[Any]) -> Any:
        wanted = await body(request, type_)
        token = guard.who(request)
        return replace(wanted, by=f"{wanted.by} (token {token})" if wanted.by else f"token {token}")

    @router.get(_BASE + "/aliases")
    def aliases(project: str, model: str) -> Response:
        return answer(registry.aliases(project, model))

    @router.get(_BASE + "/aliases/moves")
    def moves(project: str, model: str, limit: int = 50) -> Response:
        return answer(registry.moves(project, model, limit))

    @router.put(alias_)
    async def move(project: str, model: str, alias: str, request: Request) -> Response:
        wanted = await asked(request, requests.MoveAlias)
        return answer(await run_in_threadpool(registry.move, project, model, alias, wanted))

    @router.post(alias_ + "/undo")
    async def undo(project: str, model: str, alias: str, request: Request) -> Response:
        wanted = await asked(request, requests.UndoAlias)
        return answer(await run_in_threadpool(registry.undo, project, model, alias, wanted))

    @router.get(_BASE + "/compare")
    def compare(project: str, model: str, one: str, other: str) -> Response:
        return answer(registry.compare(project, model, one, other))

    @router.get(_BASE + "/verifications")
    def verifications(project: str, model: str) -> Response:
        return answer(registry.verifications(project, model))

    @router.post(_BASE + "/verify")
    async def verify(project: str, model: str, request: Request) -> Response:
        wanted = await body(request, requests.VerifyModel)
        return answer(await run_in_threadpool(registry.verify, project, model, wanted))

    @router.get("/keys/provenance.pem")
    def key() -> Response:
        return Response(registry.public_key(), media_type="application/x-pem-file")

    @router.get(version_ + "/provenance")
    def provenance(project: str, model: str, version: str) -> Response:
        return Response(registry.provenance(project, model, version), media_type="application/json")

    @router.get(version_)
    def version(project: str, model: str, version: str) -> Response:
        return answer(registry.version(project, model, version))

    @router.get(version_ + "/card.md")
    def card(project: str, model: str, version: str) -> Response:
        return Response(registry.card(project, model, version), media_type="text/markdown; charset=utf-8")

    @router.get(version_ + "/export.zip")
    def export(project: str, model: str, version: str) -> Response:
        path = registry.export(project, model, version)
        return StreamingResponse(_sent(path), media_type="application/zip")

    @router.post(version_ + "/reproduce")
    def reproduce(project: str, model: str, version: str) -> Response:
        return answer(registry.reproduce(project, model, version), 202)

    @router.post(version_ + "/promote")
    async def promote(project: str, model: str, version: int, request: Request) -> Response:
        wanted = await asked(request, requests.PromoteModel)
        return answer(await run_in_threadpool(registry.promote, project, model, version, wanted), 202)

    @router.post(version_ + "/remove")
    async def remove(project: str, model: str, version: int, request: Request) -> Response:
        wanted = await asked(request, requests.RemoveModel)
        return answer(await run_in_threadpool(registry.remove, project, model, version, wanted))
