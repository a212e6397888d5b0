"""Every backend that there is, and a store on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from s3 import BUCKET, S3Server

from conveyor.stores.data.backend import Backend
from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.objects import ObjectBackend
from conveyor.stores.data.store import DataStore


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "local", "s3"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "local":
        return LocalBackend(tmp_path / "data")
    if request.param == "memory":
        return ObjectBackend(MemoryStore(), f"memory:///{tmp_path.name}")
    server: S3Server = request.getfixturevalue("s3_server")
    prefix = server.prefix()
    return ObjectBackend(server.store(prefix), f"s3://{BUCKET}/{prefix}")


@pytest.fixture
def store(backend: Backend, tmp_path: Path) -> Iterator[DataStore]:
    made = DataStore(backend, tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[[str], DataStore]]:
    """Stores in folders of their own, by name."""
    made: list[DataStore] = []

    def make(name: str) -> DataStore:
        made.append(DataStore(LocalBackend(tmp_path / name), tmp_path / f"{name}-cache"))
        return made[-1]

    yield make
    for each in made:
        each.close()
