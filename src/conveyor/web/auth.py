"""Who may do what: whoever shows a token whose role allows it: as bearer, as git's password, or by the login link's
cookie. The first token, of `.conveyor/token`, is an admin's."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request

from conveyor.domain.token import Role, Token, needed
from conveyor.errors import Forbidden, Unauthorized

COOKIE = "conveyor_token"

Find = Callable[[str], Token | None]


def _none(candidate: str) -> None:
    return None


class Guard:
    """`find` looks a token up by its text."""

    def __init__(self, token: str, find: Find = _none) -> None:
        self._token = token.encode()
        self._find = find

    def matches(self, candidate: str) -> bool:
        """Whether this opens the pages."""
        try:
            return self._role(candidate) is not None
        except Unauthorized:
            return False

    def __call__(self, request: Request) -> None:
        """Raises Unauthorized or Forbidden. The cookie only reads: changes need the token in a header."""
        role = self._shown(request)
        if role is None:
            raise Unauthorized(
                "this needs a token of this Conveyor",
                hint="Send `Authorization: Bearer …`; the admin's token is in .conveyor/token.",
            )
        # The path that was routed by; `request.url` would end at a quoted # or ? in it.
        path, service = request.scope["path"], request.query_params.get("service", "")
        wanted = needed(request.method, path, service)
        if not role.covers(wanted):
            raise Forbidden(
                f"this token has the role {role}, and {request.method} {path} needs {wanted}",
                hint=f"An admin makes one: conveyor token create NAME --role {wanted}",
            )

    def who(self, request: Request) -> str:
        """The name of the token that a request shows; `admin` is the one in .conveyor/token."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        shown = _password(value) if scheme.lower() == "basic" else value.strip()
        if hmac.compare_digest(shown.encode(), self._token):
            return "admin"
        token = self._find(shown)
        return token.name if token else "nobody"

    def _shown(self, request: Request) -> Role | None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (role := self._role(value.strip())):
            return role
        if scheme.lower() == "basic" and (role := self._role(_password(value))):
            return role
        if request.method in ("GET", "HEAD"):
            return self._role(request.cookies.get(COOKIE, ""))
        return None

    def _role(self, candidate: str) -> Role | None:
        """Raises Unauthorized for a token that has expired: that is what its owner must know."""
        if hmac.compare_digest(candidate.encode(), self._token):
            return Role.ADMIN
        token = self._find(candidate)
        if token is not None and token.expired(datetime.now(UTC)):
            raise Unauthorized(
                f"token {token.name} expired at {token.expires:%Y-%m-%d %H:%M} UTC",
                hint=f"An admin makes a new one: conveyor token create NAME --role {token.role}",
            )
        return token.role if token else None


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
