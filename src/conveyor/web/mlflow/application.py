"""MLflow's REST as an ASGI application, ahead of the rest of the web server: an unmodified client works against it.

A call is decoded into its ask and found in one table. What writes is handed to the database's writer, which commits
the changes of all clients that wait as one group; what reads runs in threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from conveyor.errors import ConveyorError, InputRejected, NotFound, TooLarge
from conveyor.web.auth import Guard
from conveyor.web.mlflow import (
    artifacts,
    asks,
    experiment_routes,
    logged_model_routes,
    registry_routes,
    run_routes,
    version_routes,
)
from conveyor.web.mlflow.failures import failure
from conveyor.web.mlflow.service import Route, Service

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, bytes]

BASES = ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/")
ARTIFACTS = ("/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts")
LEVEL = "3.3.0"
"""The MLflow server that clients may take this for: newer ones would be sent traces, which are not kept here."""

_INFO = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False},
}
_LARGEST = 16 << 20  # bytes of a body that is not an artifact
_CHUNK = 1 << 20
_JSON = [(b"content-type", b"application/json")]
_LISTS = frozenset(("order_by", "experiment_ids", "stages", "run_ids"))


def _of_run(_: Service, session: Any, ask: asks.OfRun) -> dict[str, Any]:
    return artifacts.of_run(session, ask.id, ask.path)


ROUTES = (
    *experiment_routes.ROUTES,
    *run_routes.ROUTES,
    *logged_model_routes.ROUTES,
    *registry_routes.ROUTES,
    *version_routes.ROUTES,
    Route("GET", "artifacts/list", asks.OfRun, _of_run),
)


class Mlflow:
    """Answers MLflow's paths and hands all others to `app`."""

    def __init__(self, app: Any, service: Service, guard: Guard) -> None:
        self._app = app
        self._service = service
        self._guard = guard
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="tracking-reader")
        self._table = {(each.method, each.path): each for each in ROUTES if "{" not in each.path}
        self._patterns = [
            (each.method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", each.path)), each)
            for each in ROUTES
            if "{" in each.path
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(BASES):
            await self._answer(scope, receive, send, self._call(scope, path.partition("/mlflow/")[2], receive))
        elif path.startswith(ARTIFACTS):
            await self._artifact(scope, path.partition("/mlflow-artifacts/artifacts")[2].lstrip("/"), receive, send)
        elif path in ("/health", "/version"):
            await _send(send, 200, b"OK" if path == "/health" else LEVEL.encode(), [(b"content-type", b"text/plain")])
        elif path in ("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"):
            await _send(send, 200, msgspec.json.encode(_INFO), _JSON)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, call: Awaitable[Any]) -> None:
        """The answer of a call, or its error in MLflow's words."""
        try:
            status, body = 200, msgspec.json.encode(await call)
        except ConveyorError as error:
            status, body = failure(error)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            status, body = failure(error)
        await _send(send, status, body, _JSON)

    async def _call(self, scope: Scope, path: str, receive: Receive) -> Any:
        self._guard(Request(scope))
        route, given = self._route(scope["method"], path)
        ask = await _ask(scope, receive, route, given)
        service, loop = self._service, asyncio.get_running_loop()
        if not route.writes:
            return await loop.run_in_executor(self._pool, self._read, route, ask)
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def done(result: Any, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(settle, result, error)

        service.database.submit(lambda session: route.work(service, session, ask), done)
        return await future

    def _read(self, route: Route, ask: Any) -> Any:
        with self._service.database.read() as session:
            return route.work(self._service, session, ask)

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        route = self._table.get((method, path))
        if route is not None:
            return route, {}
        for wanted, pattern, each in self._patterns:
            if wanted == method and (found := pattern.fullmatch(path)):
                return each, found.groupdict()
        raise NotFound(f"No such endpoint: {method} {path}", hint="docs/tracking.md lists what is honoured.")

    async def _artifact(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        service, method = self._service, scope["method"]
        try:
            self._guard(Request(scope))
            if method == "PUT":
                await artifacts.received(service, path, _stream(receive))
                answer: Any = {}
            elif method == "DELETE":
                await asyncio.to_thread(artifacts.removed, service, path)
                answer = {}
            elif not path:
                wanted = dict(parse_qsl(scope["query_string"].decode())).get("path", "")
                answer = await asyncio.to_thread(artifacts.listed, service, wanted)
            else:
                held, kind = await asyncio.to_thread(artifacts.opened, service, path)
                await _send_file(send, held, kind)
                return
            status, body = 200, msgspec.json.encode(answer)
        except ConveyorError as error:
            status, body = failure(error)
        await _send(send, status, body, _JSON)


async def _ask(scope: Scope, receive: Receive, route: Route, given: dict[str, str]) -> Any:
    try:
        if scope["method"] == "GET":
            return msgspec.convert(_query(scope) | given, route.ask, strict=False)
        body = await _body(receive)
        if not given:
            return msgspec.json.decode(body or b"{}", type=route.ask, strict=False)
        return msgspec.convert(msgspec.json.decode(body or b"{}") | given, route.ask, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise InputRejected(f"Invalid request: {error}", hint="Send what MLflow's REST documents.") from error


def _query(scope: Scope) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in parse_qsl(scope["query_string"].decode(), keep_blank_values=True):
        if name in _LISTS:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    return given


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        if len(body) > _LARGEST:
            raise TooLarge("the request is larger than 16 MB", hint="Log in smaller batches.")
        message = await receive()
        body += message.get("body", b"")
    return body


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InputRejected("the upload broke off", hint="Send it again; nothing was kept.")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *headers,
                (b"content-length", str(len(body)).encode()),
                (b"x-content-type-options", b"nosniff"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _send_file(send: Send, held: Path | bytes, kind: str) -> None:
    """As a download: a browser shows none of it as a page of this site."""
    headers = [
        (b"content-type", kind.encode()),
        (b"content-disposition", b"attachment"),
        (b"x-content-type-options", b"nosniff"),
    ]
    size = len(held) if isinstance(held, bytes) else held.stat().st_size
    headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if isinstance(held, bytes):
        await send({"type": "http.response.body", "body": held})
        return
    with held.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
