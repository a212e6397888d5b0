"""Roles at the door, and secrets where the key is lost, wrong or damaged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from conveyor.delivery import secrets
from conveyor.domain import requests
from conveyor.domain.secret import Secret
from conveyor.domain.token import Role
from conveyor.effects.vault import KEY_FILE, VARIABLE
from conveyor.errors import Conflict, CorruptObject, InputRejected, NotFound, Unavailable
from conveyor.stores.collections import SECRETS
from conveyor.web.auth import COOKIE

from .client import Client
from .world import TOKEN, World, empty


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv(VARIABLE, raising=False)
    made = empty(tmp_path / ".conveyor")
    yield made
    made.context.records.close()


def token(world: World, role: Role) -> str:
    return world.desk.tokens.create(requests.CreateToken(f"{role}-token", role)).token


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_a_viewer_reads_and_changes_nothing(world: World) -> None:
    viewer = token(world, Role.VIEWER)
    client = Client(world.app)
    assert client.get("/v1/status", headers=bearer(viewer)).status_code == 200
    refused = client.post("/v1/runs/x/cancel", headers=bearer(viewer))
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert (error["code"], error["message"]) == (
        "forbidden",
        "this token has the role viewer, and POST /v1/runs/x/cancel needs deployer",
    )
    assert "conveyor token create NAME --role deployer" in error["hint"]
    # A quoted # or ? in a name ends the address that people see, not the path that is asked for.
    for path in ("/v1/projects/p%23/secrets", "/v1/projects/p%3f/secrets", "/v1/projects/p/secrets", "/v1/tokens"):
        assert client.get(path, headers=bearer(viewer)).status_code == 403, path
    password = base64.b64encode(f"anyone:{viewer}".encode()).decode()
    for service, status in (("git-receive-pack", 403), ("git-upload-pack", 404)):
        answer = client.get(f"/git/p.git/info/refs?service={service}", headers={"authorization": f"Basic {password}"})
        assert answer.status_code == status
    assert client.get("/git/p%3f.git/info/refs?service=git-receive-pack", headers=bearer(viewer)).status_code == 403


def test_any_token_opens_the_pages_and_its_cookie_only_reads(world: World) -> None:
    client = Client(world.app)
    admin = token(world, Role.ADMIN)
    client.cookies.set(COOKIE, admin)
    assert client.get("/").status_code == 200
    assert client.get("/v1/tokens").status_code == 200
    assert client.post("/v1/tokens", json={"name": "x"}).status_code == 401
    brief = world.desk.tokens.create(requests.CreateToken("brief", Role.VIEWER, timedelta(seconds=1))).token
    client.cookies.set(COOKIE, brief)  # the world's clock stands in the past
    assert client.get("/").status_code == 401
    assert client.get("/", params={"token": brief}).status_code == 401
    expired = client.get("/v1/status")
    assert "token brief expired at" in expired.json()["error"]["message"]


def test_tokens_are_named_once_kept_as_digests_and_told(world: World) -> None:
    text = token(world, Role.DEPLOYER)
    with pytest.raises(Conflict, match="already"):
        token(world, Role.DEPLOYER)
    with pytest.raises(InputRejected, match="cannot name a token"):
        world.desk.tokens.create(requests.CreateToken("a/b"))
    with pytest.raises(InputRejected, match="expire"):
        world.desk.tokens.create(requests.CreateToken("old", expires=timedelta(0)))
    with pytest.raises(NotFound):
        world.desk.tokens.remove("nobody")
    assert text not in str(world.desk.tokens.list()) + str(world.desk.events())
    stored = b"".join(path.read_bytes() for path in world.context.settings.home.glob("conveyor.db*"))
    assert text.encode() not in stored
    assert world.desk.tokens.find(text)
    world.desk.tokens.remove("deployer-token")
    assert world.desk.tokens.find(text) is None
    assert [event.data["change"] for event in world.desk.events(types=("token.changed",))] == ["made", "removed"]


def test_a_value_goes_in_and_never_out(world: World) -> None:
    client = Client(world.app)
    path = "/v1/projects/shop/environments/production/secrets/KEY"
    answer = client._call("PUT", path, {"headers": bearer(TOKEN), "json": {"value": "hunter22"}})
    assert (answer.status_code, "version 1" in answer.json()["message"]) == (200, True)
    wrong = client._call("PUT", path, {"headers": bearer(TOKEN), "json": {"value": ["hunter22"]}})
    assert (wrong.status_code, "hunter22" in wrong.text) == (422, False)
    long = client._call("PUT", path, {"headers": bearer(TOKEN), "json": {"value": "hunter22" * 9000}})
    assert (long.status_code, "hunter22" in long.text, "64 KiB" in long.text) == (422, False, True)
    listed = client.get("/v1/projects/shop/secrets", headers=bearer(TOKEN))
    assert [(each["name"], each["version"]) for each in listed.json()] == [("KEY", 1)]
    assert "hunter22" not in listed.text + client.get("/v1/events", headers=bearer(TOKEN)).text
    assert "hunter22" not in repr(requests.SetSecret("hunter22"))
    with world.context.records.read() as tx:
        file = secrets.sealed_file(world.context, tx, "shop", "production", {"KEY": 1})
        assert (
            secrets.redacted(world.context, tx, "it said hunter22!", "shop", "production", {"KEY": 1}) == "it said ***!"
        )
        assert secrets.choices(tx, "shop", "production", ["KEY", "OTHER"]) == {"KEY": (1,)}
        assert secrets.choices(tx, "shop", "staging", ["KEY"]) == {}
        assert secrets.sealed_file(world.context, tx, "shop", "production", {}) is None
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    kept = b"".join(path.read_bytes() for path in world.context.settings.home.rglob("*") if path.is_file())
    assert b"hunter22" not in kept


def test_a_lost_or_other_key_is_said_and_there_is_a_way_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, key = world.desk.secrets, world.context.settings.home / KEY_FILE
    desk.put("shop", "production", "KEY", Secret("hunter22"))
    desk.put("shop", "production", "KEY", Secret("hunter23"))
    right = key.read_bytes()
    key.unlink()
    for name in ("KEY", "OTHER"):
        with pytest.raises(Unavailable, match="is not there"):
            desk.put("shop", "production", name, Secret("x"))
    assert not key.exists()  # no second key is made while values are sealed with the first
    monkeypatch.setenv(VARIABLE, base64.b64encode(b"k" * 32).decode())
    with pytest.raises(Unavailable, match="another key"):
        desk.put("shop", "production", "OTHER", Secret("x"))
    monkeypatch.delenv(VARIABLE)
    key.write_bytes(right)
    assert "already" in desk.put("shop", "production", "KEY", Secret("hunter23")).message
    # The value of one version, copied over another's by somebody who can write to the database:
    with world.context.records.transaction() as tx:
        old, new = (tx.need(SECRETS, f"shop/production/KEY@{version}") for version in (1, 2))
        tx.put(SECRETS, type(new)(new.environment, new.name, new.version, old.sealed, new.created))
    with pytest.raises(CorruptObject, match="damaged or changed"):
        desk.put("shop", "production", "KEY", Secret("hunter24"))
    key.unlink()
    desk.remove("shop", "production", "KEY")
    assert "version 4" in desk.put("shop", "production", "KEY", Secret("hunter24")).message
    assert [view.version for view in desk.list("shop")] == [4]
