"""The dashboard in a real browser: it signs in, draws, follows the log, and its content policy holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .chromium import BINARY, Chromium
from .conftest import Site

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason=f"there is no {BINARY}")

Start = Callable[[str], Site]


def test_the_dashboard_shows_a_new_event_without_a_reload(site: Start, tmp_path: Path) -> None:
    shop = site("full")
    with Chromium(tmp_path / "profile") as page:
        page.open(f"{shop.address}/?token={shop.token}")
        assert page.value("location.href") == f"{shop.address}/"
        assert page.value("document.cookie") == ""  # no script can read the token
        page.until("document.getElementById('link').textContent === 'Live'")
        page.until("document.querySelectorAll('.chart svg path').length > 10")
        page.value("window.sameLoad = true")
        message = "<img src=x onerror=document.title='hacked'>"
        shop.tell("code.pushed", "project/shop", branch="main", commit="5" * 40, author="Ada", message=message)
        page.until("document.querySelector('#timeline li').textContent.includes('moved to 55555555')")
        assert page.value("window.sameLoad") is True
        assert page.value("document.querySelectorAll('#timeline img').length") == 0
        assert page.value("document.title") == "Conveyor"
        assert page.complaints == []


def test_the_first_event_replaces_the_empty_state(site: Start, tmp_path: Path) -> None:
    nothing = site("empty")
    with Chromium(tmp_path / "profile") as page:
        page.open(f"{nothing.address}/?token={nothing.token}")
        page.until("document.getElementById('link').textContent === 'Live'")
        assert page.value("document.getElementById('no-events') !== null")
        nothing.tell("system.started", "control")
        page.until("document.querySelectorAll('#timeline li').length === 1")
        assert page.value("document.getElementById('no-events') === null")
        assert page.complaints == []
