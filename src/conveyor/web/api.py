"""The HTTP API: a handler parses, asks the desk, and answers with the record itself."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from conveyor.config.settings import Settings
from conveyor.delivery.desk import Desk
from conveyor.domain import requests, wire
from conveyor.domain.status_text import render
from conveyor.errors import InputRejected, NoSpace
from conveyor.web.api_alerts import alerts
from conveyor.web.api_contracts import contracts
from conveyor.web.api_environments import environments
from conveyor.web.api_models import models
from conveyor.web.api_reports import reports
from conveyor.web.api_scores import scores
from conveyor.web.api_secrets import secrets_and_tokens
from conveyor.web.api_steps import steps
from conveyor.web.api_sweeps import sweeps
from conveyor.web.api_tables import tables
from conveyor.web.auth import Guard

T = TypeVar("T")
_STREAM_EVERY = 0.5
_STREAM_KEEPALIVE = 15.0


def answer(value: Any, status: int = 200) -> Response:
    return Response(wire.to_json(value), status, media_type="application/json")


def api(desk: Desk, guard: Guard, settings: Settings) -> APIRouter:
    """All of /v1. Every path needs the token."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(guard)])
    _general(router, desk)
    _runs(router, desk)
    _data(router, desk, settings)
    _models(router, desk)
    _environments(router, desk)
    environments(router, desk, body_of, answer)
    contracts(router, desk, guard, body_of, answer)
    secrets_and_tokens(router, desk, body_of, answer)
    reports(router, desk, answer)
    tables(router, desk, body_of, answer)
    models(router, desk, guard, body_of, answer)
    alerts(router, desk, guard, body_of, answer)
    steps(router, desk, body_of, answer)
    scores(router, desk, body_of, answer)
    sweeps(router, desk, body_of, answer)
    return router


def _general(router: APIRouter, desk: Desk) -> None:
    @router.get("/status")
    def status() -> Response:
        return answer(desk.status())

    @router.get("/status.txt")
    def status_text() -> Response:
        return Response(render(desk.status(), datetime.now(UTC)), media_type="text/plain")

    @router.get("/projects")
    def projects() -> Response:
        return answer(desk.projects())

    @router.get("/events")
    def events(
        after: int = 0, subject: str | None = None, types: str = "", limit: int = 100, newest: bool = False
    ) -> Response:
        wanted = tuple(part for part in types.split(",") if part)
        return answer(desk.events(after=after, subject=subject, types=wanted, limit=limit, newest=newest))

    @router.get("/events/stream")
    async def stream(request: Request, after: int | None = None) -> StreamingResponse:
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdecimal() else after
        return StreamingResponse(
            _events(desk, start), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    @router.post("/collect")
    async def collect(request: Request) -> Response:
        return answer(await run_in_threadpool(desk.collect, await body_of(request, requests.Collect)))

    @router.get("/processes/{name}/log")
    def process_log(name: str, offset: int = 0) -> Response:
        return answer(desk.process_log(name, offset))


def _runs(router: APIRouter, desk: Desk) -> None:
    @router.get("/runs")
    def runs(project: str | None = None, kind: str | None = None, limit: int = 50) -> Response:
        return answer(desk.runs(project=project, kind=kind, limit=limit))

    @router.get("/runs/{id_}")
    def run(id_: str) -> Response:
        return answer(desk.run(id_))

    @router.get("/runs/{id_}/log")
    def log(id_: str, step: str = "", offset: int = 0) -> Response:
        return answer(desk.log(id_, step, offset))

    @router.post("/runs/{id_}/cancel")
    async def cancel(id_: str, request: Request) -> Response:
        return answer(await run_in_threadpool(desk.cancel, id_, await body_of(request, requests.Cancel)))

    @router.get("/projects/{project}/commits/{commit}")
    def commit(project: str, commit: str) -> Response:
        return answer(desk.run_of_commit(project, commit))


def _data(router: APIRouter, desk: Desk, settings: Settings) -> None:
    base = "/projects/{project}/data/{dataset:path}"

    @router.put(base + "/files/{file}")
    async def upload(project: str, dataset: str, file: str, request: Request) -> Response:
        path = settings.incoming / f".upload-{secrets.token_hex(8)}"
        try:
            with path.open("wb") as target:
                async for chunk in request.stream():
                    await run_in_threadpool(target.write, chunk)
                target.flush()
                os.fsync(target.fileno())
            return answer(await run_in_threadpool(desk.upload, project, dataset, file, path), 201)
        except OSError as error:
            raise NoSpace(
                f"{file} could not be stored: {error.strerror}", hint="Free some space and send it again."
            ) from error
        finally:
            path.unlink(missing_ok=True)

    @router.get(base + "/versions")
    def versions(project: str, dataset: str, limit: int = 50) -> Response:
        return answer(desk.dataset_versions(project, dataset, limit))

    @router.get(base + "/arrivals")
    def arrivals(project: str, dataset: str, limit: int = 50) -> Response:
        return answer(desk.arrivals(project, dataset, limit))

    @router.get("/projects/{project}/lineage")
    def lineage(project: str, of: str) -> Response:
        return answer(desk.lineage.find(project, of))

    @router.get(base + "/quarantine")
    def quarantine(project: str, dataset: str, limit: int = 50) -> Response:
        return answer(desk.quarantine(project, dataset, limit))


def _models(router: APIRouter, desk: Desk) -> None:
    base = "/projects/{project}/models/{model}"

    @router.get(base + "/versions")
    def versions(project: str, model: str, limit: int = 50) -> Response:
        return answer(desk.model_versions(project, model, limit))

    @router.get(base + "/quality")
    def quality(project: str, model: str, limit: int = 200) -> Response:
        return answer(desk.quality(project, model, limit))

    @router.get(base + "/windows")
    def windows(project: str, model: str, limit: int = 200) -> Response:
        return answer(desk.windows(project, model, limit))

    @router.get(base + "/decisions")
    def decisions(project: str, model: str, limit: int = 50) -> Response:
        subject = f"model/{project}/{model}"
        return answer(desk.events(subject=subject, types=("governor.decided",), limit=limit, newest=True))

    @router.post(base + "/retrain")
    async def retrain(project: str, model: str, request: Request) -> Response:
        body = await body_of(request, requests.Retrain)
        return answer(await run_in_threadpool(desk.retrain, project, model, body), 202)


def _environments(router: APIRouter, desk: Desk) -> None:
    base = "/projects/{project}/environments/{environment}"

    @router.get(base + "/releases")
    def releases(project: str, environment: str, limit: int = 50) -> Response:
        return answer(desk.releases(project, environment, limit))

    @router.post(base + "/rollout/pause")
    async def pause(project: str, environment: str, request: Request) -> Response:
        body = await body_of(request, requests.Pause)
        return answer(await run_in_threadpool(desk.pause, project, environment, body), 202)

    @router.post(base + "/rollout/resume")
    async def resume(project: str, environment: str, request: Request) -> Response:
        body = await body_of(request, requests.Resume)
        return answer(await run_in_threadpool(desk.resume, project, environment, body), 202)

    @router.post(base + "/rollout/abort")
    async def abort(project: str, environment: str, request: Request) -> Response:
        body = await body_of(request, requests.Abort)
        return answer(await run_in_threadpool(desk.abort, project, environment, body), 202)

    @router.post(base + "/rollback")
    async def rollback(project: str, environment: str, request: Request) -> Response:
        body = await body_of(request, requests.Rollback)
        return answer(await run_in_threadpool(desk.rollback, project, environment, body), 202)


async def body_of(request: Request, type_: type[T]) -> T:
    raw = await request.body() or b"{}"
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputRejected(
            f"the request's body is not right: {error}", hint="GET /v1/openapi.json says what it takes."
        ) from error


async def _events(desk: Desk, after: int | None) -> AsyncIterator[bytes]:
    """New events as server-sent events; ids are positions in the log, so a client that reconnects misses none."""
    if after is None:
        newest = await run_in_threadpool(desk.events, limit=1, newest=True)
        after = newest[0].seq if newest else 0
    quiet = 0.0
    while True:
        found = await run_in_threadpool(desk.events, after=after, limit=200)
        for event in found:
            after = event.seq
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), wire.to_json(event))
        quiet = 0.0 if found else quiet + _STREAM_EVERY
        if quiet >= _STREAM_KEEPALIVE:
            yield b": still here\n\n"
            quiet = 0.0
        await asyncio.sleep(_STREAM_EVERY)
