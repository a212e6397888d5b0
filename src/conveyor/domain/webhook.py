"""Whether a webhook was sent by who holds its secret: GitHub's and GitLab's signatures. Pure.

GitHub    X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the body>
GitLab    webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>, as https://www.standardwebhooks.com says;
          or X-Gitlab-Token, the secret itself, which says who sends but not what
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

PREFIX = "whsec_"
_TOLERANCE = timedelta(minutes=5)
_FETCHED = ("push", "create", "delete", "Push Hook", "Tag Push Hook", "System Hook")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return self.headers.get("x-github-event") or self.headers.get("x-gitlab-event", "")

    @property
    def moves_branches(self) -> bool:
        """Whether it tells of something to fetch."""
        return self.event in _FETCHED


def from_github(delivery: Delivery, secret: str) -> bool:
    wanted = "sha256=" + hmac.new(secret.encode(), delivery.body, hashlib.sha256).hexdigest()
    return _same(delivery.headers.get("x-hub-signature-256", ""), wanted)


def from_gitlab(delivery: Delivery, secret: str, now: datetime) -> bool:
    """With a signature the signature alone counts, and only while it is fresh."""
    signatures = delivery.headers.get("webhook-signature")
    if signatures is None:
        return _same(delivery.headers.get("x-gitlab-token", ""), secret)
    id_, sent = delivery.headers.get("webhook-id", ""), delivery.headers.get("webhook-timestamp", "")
    if not sent.isascii() or not sent.isdecimal() or abs(now.timestamp() - int(sent)) > _TOLERANCE.total_seconds():
        return False
    signed = f"{id_}.{sent}.".encode() + delivery.body
    wanted = "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
    return any(_same(each, wanted) for each in signatures.split(" "))


def signed(id_: str, body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """The headers of a delivery that we send, as https://www.standardwebhooks.com says."""
    sent = str(int(now.timestamp()))
    mark = hmac.new(_key(secret), f"{id_}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": sent,
        "webhook-signature": "v1," + base64.b64encode(mark).decode(),
    }


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()


def _same(shown: str, wanted: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(shown.encode(), wanted.encode())
