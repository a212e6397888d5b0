"""Where notifications go: an HTTP receiver, or a mail server. Errors name the host, never the address or a secret."""

from __future__ import annotations

import http.client
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from conveyor.errors import InputRejected, Unavailable

_TIMEOUT = 10.0
_LATER = (408, 425, 429)  # of the 4xx: it may be taken another time


class _Stay(urllib.request.HTTPRedirectHandler):
    """A receiver that moved must be named anew: what is signed for one host is not sent to another."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Returns once it was taken. InputRejected when it never will be, else Unavailable."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or "the receiver"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputRejected("the address of the receiver is no http(s) URL", hint="Look at `url`, or at its secret.")
    request = urllib.request.Request(url, body, {"content-type": "application/json", **headers}, method="POST")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=_TIMEOUT) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:
        with error:
            error.read(1000)
        never = 300 <= error.code < 500 and error.code not in _LATER
        kind = InputRejected if never else Unavailable
        raise kind(f"{host} answered {error.code}", hint="Look at the receiver, and at the address.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"{host} does not answer: {type(error).__name__}", hint="Is its address right?") from None


@dataclass(frozen=True, slots=True)
class Mail:
    server: str  # host:port
    tls: str  # starttls | tls | none
    user: str
    password: str
    sender: str
    to: Sequence[str]


def mail(by: Mail, message_id: str, subject: str, text: str) -> None:
    """Hands a mail to the server. InputRejected when it never takes this one (5xx), else Unavailable."""
    host, _, port = by.server.rpartition(":")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = by.sender, ", ".join(by.to), subject
    message["Message-ID"] = f"<{message_id}@conveyor>"
    message.set_content(text)
    context = ssl.create_default_context()
    try:
        if by.tls == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port), timeout=_TIMEOUT, context=context)
        else:
            connection = smtplib.SMTP(host, int(port), timeout=_TIMEOUT)
        with connection:
            if by.tls == "starttls":
                connection.starttls(context=context)
            if by.user:
                connection.login(by.user, by.password)
            connection.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        raise InputRejected(f"{host} refused every recipient", hint="Look at `to`.") from error
    except smtplib.SMTPResponseException as error:
        told = f"{host} answered {error.smtp_code} to {type(error).__name__.removeprefix('SMTP')}"
        lasting = 500 <= error.smtp_code < 600 and not isinstance(error, smtplib.SMTPAuthenticationError)
        kind = InputRejected if lasting else Unavailable
        raise kind(told, hint="Look at the mail server, the user and its secret.") from None
    except (OSError, smtplib.SMTPException) as error:
        told = f"{host} does not take mail: {type(error).__name__}"
        raise Unavailable(told, hint="Look at `server` and `tls`, and at its certificate.") from None
