"""The value that redacts itself, masking over every way to cut a stream, and releases that depend on secrets."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conveyor.domain import wire
from conveyor.domain.masking import MASK, Masker, forms, mask
from conveyor.domain.project import ProjectConfig, ServiceConfig, WorkerConfig
from conveyor.domain.release import Build, Environment, Release, compose
from conveyor.domain.secret import Secret, SecretVersion, available, scope, wrong_name, wrong_value
from conveyor.domain.token import Role, needed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Holder:
    key: Secret


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret("hunter22")
    shown = [str(secret), repr(secret), f"{secret:>5}", "%s" % secret, repr(Holder(secret)), repr([secret])]  # noqa: UP031
    shown += [wire.to_json(Holder(secret)).decode(), str(wire.to_builtins(Holder(secret)))]
    assert all("hunter22" not in text and "***" in text for text in shown)
    assert (secret.reveal(), secret == Secret("hunter22"), secret == Secret("x"), secret == "hunter22") == (
        "hunter22",
        True,
        False,
        False,
    )
    with pytest.raises(TypeError):
        pickle.dumps(secret)


small = st.text(alphabet="ab\n", min_size=1, max_size=8)


@example(["aaaa"], ["aaaa", ""])
@settings(max_examples=500)
@given(st.lists(small, max_size=4), st.lists(st.text(alphabet="ab\nc", max_size=12), max_size=8))
def test_masking_is_the_same_for_every_way_to_cut_the_stream(values: list[str], pieces: list[str]) -> None:
    masker = Masker(values)
    chunks = [piece.encode() for piece in pieces]
    said = b"".join([*(masker.feed(chunk) for chunk in chunks), masker.feed(b"", last=True)])
    whole = b"".join(chunks)
    assert said == expected(whole, forms(values))
    assert not any(form in part for form in forms(values) for part in said.split(MASK))


def expected(text: bytes, values: list[bytes]) -> bytes:
    """Byte by byte: what any occurrence covers is hidden; a run of it that overlapping occurrences make is one mask."""
    hidden = [-1] * len(text)
    spans = sorted((at, at + len(v)) for v in values for at in range(len(text)) if text.startswith(v, at))
    group, end = -1, 0
    for start, stop in spans:
        group += start >= end
        end = max(end, stop)
        for place in range(start, stop):
            hidden[place] = group
    shown = b""
    for place, mark in enumerate(hidden):
        if mark < 0:
            shown += text[place : place + 1]
        elif place == 0 or hidden[place - 1] != mark:
            shown += MASK
    return shown


def test_what_is_masked() -> None:
    pem = "-----BEGIN KEY-----\nMIIBVgIBADAN\n-----END KEY-----\n"
    assert mask("  MIIBVgIBADAN said", [pem]) == "  *** said"
    assert mask("abc is too short, abcd is not", ["abc", "abcd"]) == "abc is too short, *** is not"
    assert mask("passpasspass", ["passpass"]) == "***"
    # Nothing is kept back that cannot become a value, so a log is as live as before.
    assert Masker(["hunter22"]).feed(b"ready\n") == b"ready\n"


def version(number: int, sealed: str = "x") -> SecretVersion:
    return SecretVersion("shop/production", "KEY", number, sealed, NOW)


def test_versions_older_than_a_removal_are_not_used() -> None:
    assert available([version(3), version(2), version(1)]) == (3, 2, 1)
    assert available([version(4), version(3, ""), version(2)]) == (4,)
    assert available([version(3, ""), version(2)]) == ()


def test_names_values_and_scopes() -> None:
    assert wrong_name("PAYMENT_KEY") == ""
    assert all(wrong_name(name) for name in ("", "A-B", "1A", "A B", "PATH", "CONVEYOR_X", "X" * 129))
    assert wrong_value("x\ny") == ""
    assert all(wrong_value(value) for value in ("", "a\0b", "x" * 65537))
    assert (scope("preview-login"), scope("staging")) == ("preview", "staging")


def built(*secrets: str, digest: str = "b1") -> Build:
    service = ServiceConfig("web", "run", secrets=secrets[:1])
    worker = WorkerConfig("mail", "run", secrets=secrets[1:])
    config = ProjectConfig("shop", services={"web": service}, workers={"mail": worker})
    return Build("shop", digest, "c" * 40, "t", "e", config, NOW)


def test_a_release_needs_every_declared_secret_and_a_changed_one_is_a_new_release() -> None:
    place, build = Environment("shop", "production"), built("KEY", "MAIL")
    waiting = compose(place, None, (build,), {}, {"KEY": (1,)})
    assert waiting.build is None
    assert waiting.waiting == ("secret MAIL has no value; set it with `conveyor secret set MAIL --env production`")
    first = compose(place, None, (build,), {}, {"KEY": (1,), "MAIL": (1,)})
    assert (first.build, first.secrets) == (build, {"KEY": 1, "MAIL": 1})
    live = Release("shop", "production", 1, "b1", "c", {}, "", NOW, first.secrets)
    assert compose(place, live, (build,), {}, {"KEY": (1,), "MAIL": (1,)}).build is None
    changed = compose(place, live, (build,), {}, {"KEY": (2, 1), "MAIL": (1,)})
    assert (changed.build, changed.secrets, changed.reason) == (build, {"KEY": 2, "MAIL": 1}, "secret KEY changed")
    assert "secret:KEY@2" in changed.components
    # What a rollout ruled out is not taken again; the next value is.
    ruled = Environment("shop", "production", rejected={"secret:KEY@2": "it failed"})
    assert compose(ruled, live, (build,), {}, {"KEY": (2, 1), "MAIL": (1,)}).build is None
    assert compose(ruled, live, (build,), {}, {"KEY": (3, 2, 1), "MAIL": (1,)}).secrets["KEY"] == 3
    dropped = compose(place, live, (built("KEY", digest="b2"),), {}, {"KEY": (1,), "MAIL": (1,)})
    assert dropped.secrets == {"KEY": 1}


@pytest.mark.parametrize(
    ("method", "path", "service", "role"),
    [
        ("GET", "/v1/status", "", Role.VIEWER),
        ("GET", "/v1/projects/shop/environments/production/releases", "", Role.VIEWER),
        ("POST", "/v1/projects/shop/environments/production/rollback", "", Role.DEPLOYER),
        ("PUT", "/v1/projects/shop/data/payments/files/a.parquet", "", Role.DEPLOYER),
        ("GET", "/git/shop.git/info/refs", "git-upload-pack", Role.VIEWER),
        ("POST", "/git/shop.git/git-upload-pack", "", Role.VIEWER),
        ("GET", "/git/shop.git/info/refs", "git-receive-pack", Role.DEPLOYER),
        ("POST", "/git/shop.git/git-receive-pack", "", Role.DEPLOYER),
        ("GET", "/v1/projects/shop/secrets", "", Role.ADMIN),
        ("PUT", "/v1/projects/shop/environments/test/secrets/KEY", "", Role.ADMIN),
        ("GET", "/v1/tokens", "", Role.ADMIN),
        ("DELETE", "/v1/tokens/laptop", "", Role.ADMIN),
    ],
)
def test_what_each_request_needs(method: str, path: str, service: str, role: Role) -> None:
    assert needed(method, path, service) is role
    assert [each.covers(role) for each in Role] == [False] * list(Role).index(role) + [True] * (
        3 - list(Role).index(role)
    )
