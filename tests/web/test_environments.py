"""Environments on the board and in the API: proposals, previews, and what is not declared any more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from conveyor.domain.release import Environment, Proposal
from conveyor.stores import collections as c

from .client import Client
from .world import HOSTILE, START, TOKEN, full


@pytest.fixture
def client(tmp_path: Path) -> Client:
    world = full(tmp_path / ".conveyor")
    proposal = Proposal("build:x", f"push 1a2b3c4d ({HOSTILE})", "1a2b3c4d" * 5, ("build:x",), START)
    preview = Environment("shop", "preview-new", branch=f"feature/{HOSTILE}", expires=START + timedelta(days=1))
    with world.context.records.transaction() as tx:
        production = tx.need(c.ENVIRONMENTS, "shop/production")
        tx.put(c.ENVIRONMENTS, Environment("shop", "production", production.live, releases=2, proposal=proposal))
        tx.put(c.ENVIRONMENTS, preview)
    return Client(world.app)


def test_the_board_tells_what_waits_what_expires_and_what_is_left_over(client: Client) -> None:
    client.get(f"/?token={TOKEN}")
    page = client.get("/live/board").text
    assert "Waits for approval: push 1a2b3c4d" in page
    assert "conveyor approve production" in page
    assert 'href="http://preview-new.shop.localhost:8001"' in page
    assert "conveyor env rm staging" in page  # conveyor.toml does not declare it
    assert HOSTILE not in page


def test_people_decide_by_the_api(client: Client) -> None:
    key = {"authorization": f"Bearer {TOKEN}"}
    base = "/v1/projects/shop/environments"
    found = {each["name"]: each for each in client.get(base, headers=key).json()}
    assert found["production"]["address"] == "http://127.0.0.1:8001"
    assert found["preview-new"]["branch"].startswith("feature/")
    stale = client.post(f"{base}/production/approve", headers=key, json={"key": "build:older"})
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "conflict")
    assert client.post(f"{base}/production/approve", headers=key, json={"key": "build:x"}).status_code == 202
    again = client.post(f"{base}/production/reject", headers=key, json={"reason": "no"})
    assert again.status_code == 409
    assert client.post(f"{base}/production/promote", headers=key, json={"source": "staging"}).status_code >= 400
    assert client.post(f"{base}/preview-new/remove", headers=key, json={}).status_code == 202
    after = {each["name"]: each for each in client.get(base, headers=key).json()}
    assert after["production"]["proposal"] is None
    assert "is being taken down" in after["preview-new"]["note"]
    assert client.get(base).status_code == 401
    assert client.get("/v1/projects/nothing/environments", headers=key).status_code == 404
