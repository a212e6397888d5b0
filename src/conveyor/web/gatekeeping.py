"""What every page's route does around its handler: token link, sign-in page, errors as pages, content policy."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from conveyor.errors import ConveyorError, Unauthorized
from conveyor.web.auth import COOKIE, Guard

Render = Callable[..., Response]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",  # the chart library sizes its own elements
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""No inline script and no `eval`: the charts' expressions are interpreted, not compiled."""

_YEAR = 365 * 24 * 3600


def page_route(render: Render, guard: Guard) -> type[APIRoute]:
    """The class of a page's route. `render(template, status, **values)` makes the page."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            original = super().get_route_handler()

            async def handle(request: Request) -> Response:
                if request.method == "GET" and "token" in request.query_params:
                    return _by_link(request, render, guard)
                try:
                    response = await original(request)
                except Unauthorized:
                    response = render("signin.html", 401, next=local(request.url.path), wrong=False)
                except ConveyorError as error:
                    response = render("error.html", error.status, error=error)
                response.headers["content-security-policy"] = POLICY
                response.headers.setdefault("cache-control", "no-store")
                return response

            return handle

    return PageRoute


def signed_in(request: Request, token: str, to: str) -> Response:
    """Sends the browser on with the cookie; it is for reading only, see Guard."""
    response = RedirectResponse(local(to), 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, max_age=_YEAR, path="/", httponly=True, samesite="strict", secure=secure)
    response.headers["cache-control"] = "no-store"
    return response


def local(path: str) -> str:
    """A path of this site and nothing else, so that a link cannot send a person who signs in to another one."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours and not path.startswith("/login") else "/"


def _by_link(request: Request, render: Render, guard: Guard) -> Response:
    """`?token=…`: into the cookie, and out of the address, so that it is not kept in the history or shown to others."""
    token = request.query_params["token"]
    if not guard.matches(token):
        response = render("signin.html", 401, next=local(request.url.path), wrong=True)
        response.headers["content-security-policy"] = POLICY
        response.headers["cache-control"] = "no-store"
        return response
    rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != "token"])
    return signed_in(request, token, request.url.path + (f"?{rest}" if rest else ""))
