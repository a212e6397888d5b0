"""A running Conveyor's data, read from its folder as a user would, and by its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import conveyor
from conveyor.config.settings import HOME_NAME

from .system import DATASET, NAME, System, rows


def test_what_landed_is_read_from_the_folder(system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("CONVEYOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(system.source)
    assert (system.root / HOME_NAME).is_dir()
    newest = system.client.dataset_versions(NAME, DATASET, 1)[0]
    table = conveyor.dataset(f"{DATASET}@v{newest.version}")
    assert table.profile is not None
    assert table.profile.rows == newest.rows
    days = table.scan().filter(pl.col("id") < 4_000_000).sort("id").collect()
    assert days.equals(pl.concat([rows(day) for day in range(4)]).sort("id"))
    last = table.scan(window="1d", columns=["at"]).collect()["at"]
    assert last.max() == newest.last.replace(tzinfo=None) if newest.last else False
    words = [str(Path(sys.executable).parent / "conveyor"), "data", "show", f"{DATASET}@{newest.created.isoformat()}"]
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"]["version"] == newest.version
