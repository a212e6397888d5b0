"""Who may talk to the API: whoever shows the token: as bearer, as git's password, or by the login link's cookie."""

from __future__ import annotations

import base64
import binascii
import hmac

from fastapi import Request

from conveyor.errors import Unauthorized

COOKIE = "conveyor_token"


class Guard:
    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def matches(self, candidate: str) -> bool:
        return hmac.compare_digest(candidate.encode(), self._token)

    def __call__(self, request: Request) -> None:
        """Raises Unauthorized. The cookie only reads: whatever changes something needs the token in a header."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(value.strip()):
            return
        if scheme.lower() == "basic" and self.matches(_password(value)):
            return
        if request.method in ("GET", "HEAD") and self.matches(request.cookies.get(COOKIE, "")):
            return
        raise Unauthorized(
            "this needs the token of this Conveyor",
            hint="Send `Authorization: Bearer …`; the token is in .conveyor/token.",
        )


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
