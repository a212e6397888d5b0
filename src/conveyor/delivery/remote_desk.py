"""What clients and webhooks may ask about remotes."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from conveyor.config.duration import parse_duration
from conveyor.delivery.remotes import SEEN, TRACKED, bound_to
from conveyor.domain import requests
from conveyor.domain.remote import (
    ALL,
    PROJECT,
    NewRemote,
    Remote,
    RemoteView,
    view,
    wrong_branch,
    wrong_url,
)
from conveyor.domain.views import Message
from conveyor.domain.webhook import PREFIX, Delivery, from_github, from_gitlab
from conveyor.effects import git
from conveyor.effects.vault import open_vault
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound, Unauthorized
from conveyor.stores.collections import REMOTES

_SHORTEST = 1.0  # seconds between two polls


class RemoteDesk:
    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def list(self) -> list[RemoteView]:
        with self._context.records.read() as tx:
            return [view(each) for each in tx.find(REMOTES, limit=1000, newest=False)]

    def add(self, project: str, request: requests.AddRemote) -> NewRemote:
        """Follows a repository from now on; one that was followed before is left for it."""
        context, settings = self._context, self._context.settings
        poll = parse_duration(request.poll)
        if poll is None or poll.total_seconds() < _SHORTEST:
            raise InputRejected(f"{request.poll!r} cannot be the time between polls", hint='Say "30s", "1m", "1h".')
        for what, why in _wrong(project, request):
            raise InputRejected(f"{what!r} {why}", hint="`conveyor remote add --help` shows an example.")
        url, login = _split_login(request.url)
        secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        vault = open_vault(settings.home, os.environ, make=True)
        sealed = vault.seal(secret, bound_to(project, "webhook"))
        header = f"Authorization: Basic {base64.b64encode(login.encode()).decode()}"
        opens = vault.seal(header, bound_to(project, "login")) if login else ""
        branches = tuple(request.branches) or ALL
        remote = Remote(project, url, branches, poll, context.clock.now(), sealed, opens)
        with context.records.transaction() as tx:
            before = tx.get(REMOTES, project)
            if before is not None and before.url != url:
                self._forget(project)
            tx.put(REMOTES, remote)
            tx.append(context.event("remote.changed", f"project/{project}", project, url=url, branches=branches))
        self._poke()
        hook = f"{settings.api_url}/v1/hooks"
        return NewRemote(project, url, f"{hook}/github/{project}", f"{hook}/gitlab/{project}", secret)

    def remove(self, project: str) -> Message:
        context = self._context
        with context.records.transaction() as tx:
            remote = tx.get(REMOTES, project)
            if remote is None:
                raise NotFound(f"{project} follows no remote", hint="`conveyor remote list` shows those that do.")
            tx.delete(REMOTES, project)
            self._forget(project)
            tx.append(context.event("remote.changed", f"project/{project}", project, url=""))
        self._poke()
        return Message(f"{project} does not follow {remote.url} any more; what was fetched stays")

    def hook(self, sender: str, project: str, delivery: Delivery) -> Message:
        """A signed delivery makes the remote be fetched at once; to get one twice does no more than that.

        Raises Unauthorized, whether the signature is wrong or there is no such remote: a stranger learns nothing.
        """
        context = self._context
        with context.records.read() as tx:
            remote = tx.get(REMOTES, project)
        secret = secrets.token_hex(32)  # for a remote that there is not, so that the answer takes as long
        if remote is not None:
            vault = open_vault(context.settings.home, os.environ)
            secret = vault.unseal(remote.webhook, bound_to(project, "webhook"))
        now = context.clock.now()
        signed = from_github(delivery, secret) if sender == "github" else from_gitlab(delivery, secret, now)
        if remote is None or not signed:
            raise Unauthorized(
                "the webhook is not signed with the secret of this remote",
                hint="`conveyor remote add` prints the secret; paste it into the webhook's settings.",
            )
        if not delivery.moves_branches:
            return Message(f"received; nothing is to be done on {delivery.event or 'this event'}")
        with context.records.transaction() as tx:
            current = tx.get(REMOTES, project)
            if current is not None:
                tx.put(REMOTES, replace(current, asked=now))
        self._poke()
        return Message(f"{project} is being fetched")

    def _forget(self, project: str) -> None:
        """Where the remote's branches were: another remote begins anew."""
        repo = self._context.settings.repos / f"{project}.git"
        if repo.is_dir():
            kept = [f"{under}{name}" for under in (TRACKED, SEEN) for name in git.tracked(repo, under)]
            git.update_refs(repo, [f"delete {ref}" for ref in kept])


def _wrong(project: str, request: requests.AddRemote) -> list[tuple[str, str]]:
    found = [] if PROJECT.fullmatch(project) else [(project, "cannot name a project")]
    shown, _ = _split_login(request.url)
    if why := wrong_url(request.url):
        found.append((shown, why))
    found += [(branch, why) for branch in request.branches if (why := wrong_branch(branch))]
    return found


def _split_login(url: str) -> tuple[str, str]:
    """(the URL without its login, `user:password`), so that a password is in no record, log or list of processes."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.password:
        return url, ""
    place = parts.hostname or ""
    place = f"{place}:{parts.port}" if parts.port else place
    return urlunsplit(parts._replace(netloc=place)), f"{unquote(parts.username or '')}:{unquote(parts.password)}"
