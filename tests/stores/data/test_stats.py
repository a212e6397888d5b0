"""Stats of many files: two processes tell what one tells."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from conveyor.stores.data import stats
from conveyor.stores.data.scan import Source, scan
from conveyor.stores.data.state import touched

from .folders import write


def test_two_processes_tell_what_one_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "in", {f"{number % 7}/{number:04d}": b"x" * number for number in range(501)})
    (folder / "3" / "link").symlink_to("0003")
    source = Source(b"part", os.fsencode(folder), True)
    alone = scan([source])
    monkeypatch.setattr(stats, "_MANY", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert scan([source]) == alone
    assert len(alone.paths) == 502
    start = len(b"part/")
    names = [*alone.paths[:400], b"part/gone", b"part/0/0000/below", *alone.paths[400:]]
    with_gone = stats.stats_of(source.path, start, names)
    assert list(with_gone[400 * stats.COLUMNS : 402 * stats.COLUMNS]) == [0] * 2 * stats.COLUMNS
    del with_gone[400 * stats.COLUMNS : 402 * stats.COLUMNS]
    assert with_gone == alone.stats
    found = []
    thread = threading.Thread(target=lambda: found.append(scan([source])))  # which forks nothing
    thread.start()
    thread.join()
    assert found == [alone]
    later = alone.stats[:]
    later[300 * stats.COLUMNS + 1] += 1
    later[-1] ^= 1
    assert touched(alone.stats, later) == [300, 501]
