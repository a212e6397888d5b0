"""A migrated database and the application over it, for each test its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database brought to the newest revision, as a release does it."""
    file = tmp_path_factory.mktemp("database") / "shop.db"
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(
        command, cwd=PROJECT, env={**os.environ, "DATABASE_URL": f"sqlite:///{file}"}, check=True, capture_output=True
    )
    return file


@pytest.fixture
def database_url(migrated: Path, tmp_path: Path) -> str:
    copy = tmp_path / "shop.db"
    copy.write_bytes(migrated.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    """The application with no model bound to it."""
    from shop.web import create_app

    with TestClient(create_app(database_url, None)) as client:
        yield client
