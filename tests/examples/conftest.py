"""Puts the example's package on the path, as its own project would have it, for these tests only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shop() -> Iterator[Path]:
    """The example project, importable as `shop`."""
    project = ROOT / "examples" / "shop"
    sys.path.insert(0, str(project))
    yield project
    sys.path.remove(str(project))
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def published() -> Path:
    """The shared data folder (`../shared/data`)."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "fdh_raw").is_dir() or not (folder / "fdh_transformed").is_dir():
        pytest.skip("the published transactions are not on this machine (expected in ../shared/data)")
    return folder
