"""Notifications to a real HTTP server and a real mail server: signed, at least once, and a dead one blocks nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conveyor.config.load import load
from conveyor.delivery import secrets
from conveyor.delivery.notifier import Notifier
from conveyor.delivery.notify_desk import NotifyDesk
from conveyor.domain import notify
from conveyor.domain.narrative import sentence
from conveyor.domain.secret import Secret
from conveyor.domain.webhook import Delivery, from_gitlab
from conveyor.engine.context import Context
from conveyor.errors import ConfigInvalid, NotFound, Unavailable
from conveyor.stores import collections as c

from .conftest import Plane

MODEL = "model/shop/fraud"


class Receiver:
    """A real HTTP server that answers as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.status, self.got = 200, list[Delivery]()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(Delivery({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def opened(context: Context, kind: str = "drift", severity: str = "info", notice: str = "told") -> str:
    data = {"kind": kind, "severity": severity, "notice": notice, "message": "amount <moved> & how.", "effect": ""}
    with context.transaction() as tx:
        return tx.append(context.event("alert.opened", MODEL, "shop", since="", **data)).id


def secret(context: Context, **values: str) -> None:
    with context.records.transaction() as tx:
        for name, value in values.items():
            secrets.put(context, tx, "shop", "production", name, Secret(value))


def until(notifier: Notifier, plane: Plane, done: Callable[[], bool]) -> None:
    """Real threads and a real network, so real time passes; the clock is stepped by a second a turn."""
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        assert plane.contexts[-1].renew()
        notifier.turn()
        plane.clock.step(timedelta(seconds=1))
        time.sleep(0.01)


def waiting(context: Context) -> int:
    with context.records.read() as tx:
        return tx.count(c.NOTICES)


def test_a_webhook_is_signed_retried_over_a_crash_and_a_dead_one_blocks_nothing(
    plane: Plane, receiver: Receiver
) -> None:
    context = plane.context()
    plane.build(
        f'[notify.pager]\nkind = "webhook"\nurl = "{receiver.url}"\nkey = "PAGER_KEY"\non = ["critical", "drift"]\n'
        '[notify.dead]\nkind = "slack"\nurl = "http://127.0.0.1:1/x"\n'
    )
    secret(context, PAGER_KEY="whsec_c2VjcmV0")
    opened(context)  # before anybody asked to be told
    notifier = Notifier(context)
    notifier.turn()
    opened(context, "drift", "info")
    opened(context, "drift", "critical", notice="muted")
    opened(context, "data_fault", "critical")
    wanted = opened(context, "drift", "critical")
    receiver.status = 503
    until(notifier, plane, lambda: len(receiver.got) == 2)
    first = receiver.got[0]
    receiver.status = 200

    context = plane.context()  # the control plane was killed; notices are on record
    notifier = Notifier(context)
    until(notifier, plane, lambda: receiver.got[-1].headers["webhook-id"] == wanted and len(receiver.got) == 3)
    assert {each.headers["webhook-id"] for each in receiver.got} == {wanted}
    got = receiver.got[-1]
    sent = datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), UTC)
    assert from_gitlab(got, "whsec_c2VjcmV0", sent)
    assert not from_gitlab(Delivery(got.headers, got.body + b" "), "whsec_c2VjcmV0", sent)
    assert json.loads(got.body)["type"] == "conveyor.alert.opened"
    assert first.body == got.body
    until(
        notifier,
        plane,
        lambda: {r.name: r.waiting for r in NotifyDesk(context).list("shop")} == {"pager": 0, "dead": 3},
    )
    failed = plane.events("notify.failed")
    assert {event.subject for event in failed} == {"notify/shop/pager", "notify/shop/dead"}
    assert all(event.data["again"] for event in failed)
    assert "could not be told" in sentence(failed[0])


def test_what_is_refused_or_too_old_or_too_much_is_given_up(
    plane: Plane, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = plane.context()
    plane.build('[notify.chat]\nkind = "slack"\nurl = "CHAT_URL"\n')
    notifier = Notifier(context)
    notifier.turn()
    with pytest.raises(NotFound, match="secret CHAT_URL"):
        NotifyDesk(context).test("shop", "chat")
    secret(context, CHAT_URL=receiver.url)
    receiver.status = 302  # it is not followed
    opened(context)
    until(notifier, plane, lambda: waiting(context) == 0 and bool(receiver.got))
    assert json.loads(receiver.got[0].body)["text"].endswith("drift of fraud: amount &lt;moved&gt; &amp; how.")
    (event,) = plane.events("notify.failed")
    assert (event.data["error"], event.data["again"]) == ("127.0.0.1 answered 302", False)
    receiver.status = 500
    with pytest.raises(Unavailable):
        NotifyDesk(context).test("shop", "chat")
    monkeypatch.setattr(notify, "WAITING", 2)
    for _ in range(4):
        opened(context)
    until(notifier, plane, lambda: len(plane.events("notify.failed")) >= 3)
    assert waiting(context) == 2
    plane.clock.step(notify.GIVEN_UP)
    until(notifier, plane, lambda: waiting(context) == 0)
    with pytest.raises(NotFound):
        NotifyDesk(context).test("shop", "nobody")


def certificate(folder: Path) -> tuple[Path, Path]:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    shape = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*shape))
    return folder / "cert.pem", folder / "key.pem"


@contextlib.contextmanager
def mail_server(folder: Path, got: list[Any]) -> Iterator[int]:
    class Handler:
        async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            got.append((session.ssl is not None, envelope))
            return "250 OK"

    def known(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (b"conveyor", b"open sesame"), handled=False)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder))
    controller = Controller(
        Handler(), hostname="127.0.0.1", port=0, tls_context=context, require_starttls=True, authenticator=known
    )
    controller.port = _free_port()
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def _free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as probe:
        return int(probe.server_port)


def test_mail_goes_by_tls_with_a_stable_id(plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = plane.context()
    got: list[Any] = []
    with mail_server(tmp_path, got) as port:
        plane.build(
            f'[notify.team]\nkind = "email"\nserver = "localhost:{port}"\nuser = "conveyor"\nkey = "SMTP_PASSWORD"\n'
            'sender = "conveyor@example.org"\nto = ["a@example.org", "b@example.org"]\n'
        )
        secret(context, SMTP_PASSWORD="wrong")
        with pytest.raises(Unavailable, match="does not take mail: SSLCertVerificationError"):
            NotifyDesk(context).test("shop", "team")
        monkeypatch.setenv("SSL_CERT_FILE", os.fspath(tmp_path / "cert.pem"))
        with pytest.raises(Unavailable, match="answered 535"):
            NotifyDesk(context).test("shop", "team")
        secret(context, SMTP_PASSWORD="open sesame")
        notifier = Notifier(context)
        notifier.turn()
        id_ = opened(context, "data_fault", "critical")
        until(notifier, plane, lambda: len(got) == 1 and waiting(context) == 0)
        assert "took a test notice" in NotifyDesk(context).test("shop", "team").message
    secured, envelope = got[0]
    mail = message_from_bytes(envelope.content, policy=policy.default)
    assert secured
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    assert (mail["message-id"], mail["subject"]) == (f"<{id_}@conveyor>", "shop: data fault of fraud")
    assert "amount <moved> & how." in mail.get_content()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "pigeon"', "kind"),
        ('kind = "webhook"\nurl = "https://x.example"', "signed"),
        ('kind = "slack"\nurl = "ftp://x"', "address"),
        ('kind = "slack"\nurl = "U"\non = ["drifts"]', "drift"),
        ('kind = "email"\nserver = "x"\nsender = "a@b"\nto = ["c@d"]', "host:port"),
        ('kind = "email"\nserver = "x:25"\nsender = "a@b"\nto = ["c@d"]\nuser = "u"\nkey = "K"\ntls = "none"', "TLS"),
    ],
)
def test_a_receiver_that_cannot_work_is_refused_at_the_push(text: str, says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        load(f'[project]\nname = "shop"\n[notify.x]\n{text}\n')
