"""One running Conveyor for all tests of the loop, with its first release live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .system import System, rows


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("loop"))
    try:
        made.start()
        commit = made.push("First version")
        for day in range(4):
            made.land(rows(day), f"day-{day}.parquet")
        made.wait_live(commit, 180)
        yield made
    finally:
        made.stop()
