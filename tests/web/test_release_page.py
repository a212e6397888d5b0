from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.cli.receipt import lines
from conveyor.domain import wire
from conveyor.domain.dora import Dora
from conveyor.domain.release_view import ReleaseView
from conveyor.web.auth import COOKIE

from .client import Client
from .world import COMMIT, HOSTILE, TOKEN, World, full

PLACE = "/projects/shop/environments/production/releases"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    world = full(tmp_path / ".conveyor")
    yield world
    world.context.records.close()


@pytest.fixture
def person(shop: World) -> Client:
    client = Client(shop.app)
    client.cookies.set(COOKIE, TOKEN)
    return client


def test_a_release_shows_its_receipt(shop: World, person: Client) -> None:
    page = person.get(f"{PLACE}/1").text
    for told in ("3 cut", "2 failed", "of 6,994 requests", "all traffic moved in 8.5 ms", "fraud v2", ">live<"):
        assert told in page
    for told in ("timed out: 1", "left by the client: 4", "2 in flight when its process was told to end", "1 min 0 s"):
        assert told in page
    for told in ("512 rows of 500 requests", "live v1", "shadow v2", "0.0250", "12.50 %", "0.070"):
        assert told in page
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'http-equiv="refresh"' not in page
    assert Client(shop.app).get(f"{PLACE}/1").status_code == 401
    assert person.get(f"{PLACE}/9").status_code == 404


def test_a_rollout_that_goes_on_shows_what_is_known(person: Client) -> None:
    page = person.get(f"{PLACE}/2").text
    assert "rolling out" in page
    assert "what was counted up to the last phase" in page
    assert 'http-equiv="refresh"' in page


def test_the_terminal_says_the_same(shop: World) -> None:
    view = shop.desk.reports.release("shop", "production", 1)
    assert wire.from_json(wire.to_json(view), ReleaseView) == view
    told = "\n".join(lines(view))
    for wanted in (
        "release 1 of shop in production: live",
        "shadow v2",
        "12.50%",
        f"commit {COMMIT[:8]}",
        "service.web  web@99887766 (new)   during  604       2",
        "all                               during  2,678     2",
        "6,994 requests during and after, 2 failed, 3 cut; 2 of them in flight when their process was told to end",
        "all traffic moved in 8.5 ms",
    ):
        assert wanted in told, told
    newest = shop.desk.reports.release("shop", "production", None)
    assert newest.release.number == 2
    assert "The rollout goes on" in "\n".join(lines(newest))


def test_the_figures_of_delivery_are_on_the_dashboard_and_in_the_api(shop: World, person: Client) -> None:
    place = "environment/shop/production"
    shop.tell("rollout.advanced", place, release=2, phase="live", percent=100, note="", seconds=9.0)
    answer = person.get("/v1/dora", params={"window": "7d"})
    found = wire.from_json(answer.content, Dora)
    assert (found.project, found.code.deployments, found.models.deployments) == ("shop", 1, 1)
    assert found.code.lead_time.count == 1
    page = person.get("/").text
    for told in ("Delivery to production", "Change failure rate", "0.0%", "0 of 1", "Time to restore"):
        assert told in page
    refused = person.get("/v1/dora", params={"window": "long"})
    assert (refused.status_code, refused.json()["error"]["hint"]) == (422, "Say 7d, 30d or 90d; at most 366d.")
    assert person.get("/v1/dora", params={"environment": "nowhere"}).status_code == 404


def test_a_place_in_the_log_is_found_by_time(shop: World) -> None:
    with shop.context.records.read() as tx:
        events = tx.events(limit=1000)
        for event in (events[0], events[5], events[-1]):
            place = tx.position(event.time)
            assert all(each.time >= event.time for each in events if each.seq > place)
            assert all(each.time < event.time for each in events if each.seq <= place)
        assert tx.position(events[-1].time.replace(year=2100)) == events[-1].seq
        assert [each.seq for each in tx.events(after=2, before=5)] == [3, 4]
