"""A release's page in a real browser: it fits, in light and dark, on a desk and in a hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .chromium import BINARY, Chromium
from .conftest import Site

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason=f"there is no {BINARY}")


def test_the_receipt_is_readable(site: Callable[[str], Site], tmp_path: Path) -> None:
    shop = site("full")
    pictures = Path(os.environ.get("CONVEYOR_PICTURES", tmp_path))
    for width in (1280, 400):
        with Chromium(tmp_path / f"profile-{width}", width=width, height=1400) as page:
            page.open(f"{shop.address}/?token={shop.token}")
            page.until("document.getElementById('link').textContent === 'Live'")
            page.picture(pictures / f"dashboard-{width}.png")
            page.open(f"{shop.address}/data/shop/payments")
            assert page.value("document.querySelectorAll('svg.bars rect').length") == 60
            page.picture(pictures / f"dataset-{width}.png")
            assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            page.open(f"{shop.address}/projects/shop/environments/production/releases/1")
            assert page.value("document.querySelector('h1').textContent.includes('Release 1')")
            assert page.value("document.querySelectorAll('script').length") == 0
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                page.call("Emulation.setEmulatedMedia", {"features": features})
                page.picture(pictures / f"release-{width}-{scheme}.png")
            # Tables scroll in their own frame; the page itself never does sideways.
            assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert page.complaints == []
