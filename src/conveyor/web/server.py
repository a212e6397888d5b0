"""The web application: API, git remote, pages, and one shape of error everywhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from conveyor import __version__
from conveyor.config.settings import Settings
from conveyor.delivery.desk import Desk
from conveyor.errors import ConveyorError, InputRejected, NotFound, Unauthorized
from conveyor.web.api import answer, api, body_of
from conveyor.web.api_labels import labels
from conveyor.web.api_rows import rows
from conveyor.web.api_tracked import tracked
from conveyor.web.auth import Guard
from conveyor.web.git import git
from conveyor.web.hooks import hooks
from conveyor.web.metrics import metrics
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.tracked import Tracked
from conveyor.web.pages import pages

log = logging.getLogger(__name__)


def application(
    desk: Desk, settings: Settings, token: str, poke: Callable[[], None], tracking: Service | None = None
) -> FastAPI:
    """`tracking`: its pages and its part of the API; MLflow's paths are answered ahead of this, by `Mlflow`."""
    guard = Guard(token, desk.tokens.find)
    app = FastAPI(title="Conveyor", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    app.include_router(rows(desk, guard, answer))
    app.include_router(labels(desk, guard, answer))
    app.include_router(api(desk, guard, settings))
    app.include_router(hooks(desk, guard))
    app.include_router(git(settings, guard, poke))
    app.include_router(pages(desk, guard, settings, Tracked(tracking) if tracking is not None else None))
    app.include_router(metrics(desk))
    _errors(app)
    _headers(app)
    if tracking is not None:
        app.include_router(tracked(tracking, guard, body_of, answer))
    return app


def _errors(app: FastAPI) -> None:
    @app.exception_handler(ConveyorError)
    async def known(_: Request, error: ConveyorError) -> Response:
        response = answer(error.as_dict(), error.status)
        if isinstance(error, Unauthorized):
            response.headers["www-authenticate"] = 'Basic realm="conveyor"'
        if error.retry_after:
            response.headers["retry-after"] = str(error.retry_after)
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        rejected = InputRejected(f"{where}: {first['msg']}", hint="GET /v1/openapi.json says what it takes.")
        return answer(rejected.as_dict(), rejected.status)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        missing = NotFound(
            f"{request.method} {request.url.path}: {error.detail}", hint="GET /v1/openapi.json lists what there is."
        )
        return answer(missing.as_dict(), error.status_code)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        known_ = ConveyorError("something unexpected went wrong", hint="See `conveyor logs control`; please report it.")
        return answer(known_.as_dict(), known_.status)


def _headers(app: FastAPI) -> None:
    @app.middleware("http")
    async def secure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.setdefault("x-content-type-options", "nosniff")
        response.headers.setdefault("x-frame-options", "DENY")
        response.headers.setdefault("referrer-policy", "same-origin")
        return response
