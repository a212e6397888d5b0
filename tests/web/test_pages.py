from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.errors import NotFound
from conveyor.web.auth import COOKIE

from .client import Client
from .world import COMMIT, HOSTILE, OTHER, TOKEN, World, empty, full

PAGES = [
    "/",
    "/runs/run1",
    "/models/shop/fraud",
    "/data/shop/payments",
    f"/projects/shop/commits/{COMMIT}",
    "/projects/shop/environments/production/releases/1",
]


@pytest.fixture
def nothing(tmp_path: Path) -> Iterator[World]:
    world = empty(tmp_path / ".conveyor")
    yield world
    world.context.records.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    world = full(tmp_path / ".conveyor")
    yield world
    world.context.records.close()


def stranger(world: World) -> Client:
    return Client(world.app)


def person(world: World) -> Client:
    client = stranger(world)
    client.cookies.set(COOKIE, TOKEN)
    return client


@pytest.mark.parametrize("path", [*PAGES, "/live/board"])
def test_a_stranger_gets_the_sign_in_page_and_nothing_else(shop: World, path: str) -> None:
    answer = stranger(shop).get(path)
    assert answer.status_code == 401
    assert ".conveyor/token" in answer.text
    assert "www-authenticate" not in answer.headers  # the browser's own dialog would hide the form
    assert "fraud" not in answer.text.replace(f'value="{path}"', "")
    assert TOKEN not in answer.text


def test_the_link_puts_the_token_into_the_cookie_and_out_of_the_address(shop: World) -> None:
    answer = stranger(shop).get("/models/shop/fraud", params={"x": "1", "token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/shop/fraud?x=1")
    _assert_cookie(answer.headers["set-cookie"])
    assert stranger(shop).get("/", params={"token": "guessed"}).status_code == 401
    assert stranger(shop).get("/login", params={"token": TOKEN}).headers["location"] == "/"


def test_the_form_signs_in_and_leads_nowhere_else(shop: World) -> None:
    client = stranger(shop)
    wrong = client.post("/login", data={"token": "guessed", "next": "/runs/run1"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = client.post("/login", data={"token": f" {TOKEN}\n", "next": "/runs/run1"})
    assert (right.status_code, right.headers["location"]) == (303, "/runs/run1")
    _assert_cookie(right.headers["set-cookie"])
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"):
        assert client.post("/login", data={"token": TOKEN, "next": elsewhere}).headers["location"] == "/"
    assert client.post("/login", content=b"token=" + b"x" * 10_000).status_code == 422
    assert client.get("/").status_code == 200


def _assert_cookie(said: str) -> None:
    assert said.startswith(f"{COOKIE}={TOKEN};")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in said.split(";")}


def test_an_empty_conveyor_says_what_to_do_next(nothing: World) -> None:
    answer = person(nothing).get("/")
    assert answer.status_code == 200
    assert "git push http://conveyor:TOKEN@127.0.0.1:8000/git/NAME.git HEAD:main" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy


def test_the_dashboard_tells_what_is_live_and_what_is_on_its_way(shop: World) -> None:
    page = person(shop).get("/").text
    for told in ("Release 1", "fraud v2", "Release 2 has 25 % of the traffic", 'value="25"', "insufficient evidence"):
        assert told in page
    for told in ("has no version that passed yet", "12 of 40 requests", "only 120 new labelled rows", "113,204"):
        assert told in page
    assert "0.62 on its holdout" in page  # of version 2, which is live; not of the newest
    assert page.count("<li data-seq=") == 12


@pytest.mark.parametrize("path", PAGES)
def test_what_users_write_stays_text(shop: World, path: str) -> None:
    answer = person(shop).get(path)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


def test_a_run_shows_its_steps_and_the_end_of_their_logs(shop: World) -> None:
    page = person(shop).get("/runs/run1").text
    assert "line 999" in page
    assert "line 10\n" not in page
    assert "1 min 15 s" in page
    assert 'data-live="run"' not in page
    assert 'data-live="run"' in person(shop).get("/runs/run2").text
    missing = person(shop).get("/runs/nope")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_the_pushers_address_lives_before_and_after_the_build(shop: World) -> None:
    client = person(shop)
    before = client.get(f"/projects/shop/commits/{OTHER}").text
    assert "Not seen yet" in before
    assert 'http-equiv="refresh"' in before
    shop.tell("code.pushed", "project/shop", branch="idea", commit=OTHER, author="Ada", message="Try")
    assert "no environment follows the branch idea" in client.get(f"/projects/shop/commits/{OTHER}").text
    after = client.get(f"/projects/shop/commits/{COMMIT}").text
    assert "Release 2 in production" in after
    assert 'http-equiv="refresh"' not in after
    with pytest.raises(NotFound):
        shop.desk.run_of_commit("shop", OTHER)


def test_a_models_page_shows_figures_verdicts_and_charts(shop: World) -> None:
    client = person(shop)
    page = client.get("/models/shop/fraud").text
    for told in ("2.4e-07", "Chance could explain the difference.", "payments v14", "n_estimators 200", "release 1"):
        assert told in page
    charts = client.get("/live/charts/shop/fraud").json()
    lines, held = charts["quality"]["layer"][1], charts["quality"]["layer"][2]
    assert {row["version"] for row in lines["data"]["values"]} == {"v1", "v2", "v3"}
    assert {row["version"] for row in held["data"]["values"]} == {"v1", "v2", "v3", "v4"}
    assert charts["drift"]["layer"][0]["data"]["values"]
    assert client.get("/live/charts/shop/nope").json() == {}
    assert client.get("/models/shop/nope").status_code == 404


def test_a_datasets_page_tells_what_its_columns_hold_and_how_they_moved(shop: World) -> None:
    client = person(shop)
    page = client.get("/data/shop/payments").text
    for told in ("Version 12: 4,000 rows", "moved away", "steady", "gold", "1 refused", "TX_AMOUNT:min 3", "min 0"):
        assert told in page
    assert page.count('<svg class="bars"') == 3  # what is a text or all null has none
    assert "/data/shop/payments" in client.get("/").text
    shop.context.objects.delete(shop.desk.dataset_versions("shop", "payments")[0].profile.sketches)  # type: ignore[union-attr]
    assert "Version 12: 4,000 rows" in client.get("/data/shop/payments").text
    assert client.get("/data/shop/nope").status_code == 404


def test_the_timeline_gives_only_what_is_new(shop: World) -> None:
    client, newest = person(shop), shop.desk.events(limit=1, newest=True)[0].seq
    assert client.get("/live/timeline", params={"after": newest}).text.strip() == ""
    shop.tell("system.started", "control")
    assert client.get("/live/timeline", params={"after": newest}).text.count("<li") == 1


def test_our_own_files_are_small_and_the_charts_library_is_made_once(shop: World) -> None:
    client = person(shop)
    sizes = [len(client.get(f"/static/conveyor.{kind}").content) for kind in ("css", "js")]
    assert sum(sizes) < 40_000
    assert client.get("/static/../pages.py").status_code == 404
    page = client.get("/").text
    address = page.partition('data-vega="')[2].partition('"')[0]
    first = client.get(address)
    assert b"vegaEmbed" in first.content
    assert "immutable" in first.headers["cache-control"]
    assert stranger(shop).get(address).status_code == 401
    assert [path.name for path in (shop.context.settings.home / "cache").glob("vega-*")] == [address.rpartition("/")[2]]
