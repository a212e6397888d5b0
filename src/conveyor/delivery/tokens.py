"""Tokens with roles: made, listed, removed, and found by what a client shows."""

from __future__ import annotations

import re
import secrets

from conveyor.domain import requests
from conveyor.domain.token import NewToken, Token, TokenView, digest
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.stores.collections import TOKENS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_PREFIX = "cvy_"  # so that a scanner of leaked secrets can know one


class Tokens:
    def __init__(self, context: Context) -> None:
        self._context = context

    def find(self, candidate: str) -> Token | None:
        """The token that this text is, expired ones too."""
        if not candidate.startswith(_PREFIX):
            return None
        with self._context.records.read() as tx:
            return tx.get(TOKENS, digest(candidate))

    def create(self, request: requests.CreateToken) -> NewToken:
        if not _NAME.fullmatch(request.name):
            raise InputRejected(
                f"{request.name[:80]!r} cannot name a token", hint="Use letters, digits and . _ @ -, 64 at most."
            )
        now = self._context.clock.now()
        if request.expires is not None and request.expires.total_seconds() <= 0:
            raise InputRejected("a token cannot expire before it is made", hint="Give a duration such as 30d.")
        expires = now + request.expires if request.expires is not None else None
        text = _PREFIX + secrets.token_urlsafe(32)
        with self._context.records.transaction() as tx:
            if tx.find(TOKENS, where={"name": request.name}, limit=1):
                raise Conflict(
                    f"there is a token {request.name!r} already",
                    hint=f"Take another name, or remove it first: conveyor token rm {request.name}",
                )
            tx.put(TOKENS, Token(digest(text), request.name, request.role, now, expires))
            subject = f"token/{request.name}"
            tx.append(self._context.event("token.changed", subject, change="made", role=request.role))
        return NewToken(request.name, request.role, text, expires)

    def list(self) -> list[TokenView]:
        with self._context.records.read() as tx:
            found = tx.find(TOKENS, limit=1000, newest=False)
        return [TokenView(token.name, token.role, token.created, token.expires) for token in found]

    def remove(self, name: str) -> Message:
        with self._context.records.transaction() as tx:
            found = tx.find(TOKENS, where={"name": name}, limit=1)
            if not found:
                raise NotFound(f"there is no token {name[:80]!r}", hint="`conveyor token list` shows them.")
            tx.delete(TOKENS, found[0].digest)
            subject = f"token/{name}"
            tx.append(self._context.event("token.changed", subject, change="removed", role=found[0].role))
        return Message(f"token {name} was removed; nobody gets in with it from now on")
