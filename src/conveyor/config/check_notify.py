"""What a [notify.NAME] section must satisfy beyond its types. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conveyor.config.demands import choice
from conveyor.config.problem import Problem
from conveyor.domain.alert import AlertKind, Severity
from conveyor.domain.project import RECEIVERS, TLS, NotifyConfig

_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SERVER = re.compile(r"[^\s:/]+:[0-9]{1,5}", re.ASCII)


def check_notify(given: NotifyConfig) -> Iterator[Problem]:
    at = ("notify", given.name)
    yield from choice((*at, "kind"), "kind", given.kind, RECEIVERS)
    for word in given.on:
        yield from choice((*at, "on"), "kind or severity", word, (*AlertKind, *Severity))
    yield from choice((*at, "tls"), "protection", given.tls, TLS)
    if given.key and not _SECRET.fullmatch(given.key):
        yield Problem((*at, "key"), f'expected the name of a secret such as "SMTP_PASSWORD", found "{given.key}"')
    if given.kind == "email":
        yield from _email(given)
        return
    address = given.url.startswith(("http://", "https://")) or _SECRET.fullmatch(given.url)
    if given.kind in RECEIVERS and not address:
        yield Problem((*at, "url"), "expected an http(s) address, or the name of the secret that holds it")
    if given.kind == "webhook" and not given.key:
        yield Problem((*at, "key"), "a webhook is signed; name the secret that it is signed with")


def _email(given: NotifyConfig) -> Iterator[Problem]:
    at = ("notify", given.name)
    if not _SERVER.fullmatch(given.server):
        yield Problem((*at, "server"), f'expected "host:port" such as "smtp.example.org:587", found "{given.server}"')
    if "@" not in given.sender:
        yield Problem((*at, "sender"), "expected the address that mails come from")
    if not given.to or any("@" not in each for each in given.to):
        yield Problem((*at, "to"), "expected at least one address")
    if bool(given.user) != bool(given.key):
        yield Problem((*at, "user"), "`user` and `key`, the secret with its password, belong together")
    if given.user and given.tls == "none":
        yield Problem((*at, "tls"), "a password is not sent without TLS")
