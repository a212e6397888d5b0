"""The reading side of the observation log, over files as writers and their deaths leave them."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from conveyor.domain.observation import Prediction, encode
from conveyor.errors import CorruptObject
from conveyor.stores.observations import ObservationLog


def prediction(id: str) -> Prediction:
    return Prediction(id, 1.5, "fraud", 3, 1, features=b"\0" * 8, scores=b"\0" * 4, keys=("k",), times=(7,))


def test_segments_in_order_with_the_torn_tail_of_the_dead_and_without_the_open_ones_of_the_living(
    tmp_path: Path,
) -> None:
    log = ObservationLog(tmp_path / "observations")
    assert log.segments() == []
    log.directory.mkdir()
    frames = [encode(prediction(id)) for id in "abcd"]
    (log.directory / "1000-9-2.seg").write_bytes(frames[1])
    (log.directory / "1000-9-10.seg").write_bytes(frames[2])
    (log.directory / "999-12-1.open").write_bytes(frames[0] + frames[3][:-3])
    (log.directory / "998-12-1.bad").write_bytes(b"set aside")
    alive = log.directory / "1001-1-1.open"
    alive.write_bytes(frames[3])
    with alive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = log.segments()
    assert [path.name for path in found] == ["999-12-1.open", "1000-9-2.seg", "1000-9-10.seg"]
    assert [row for path in found for row in log.read(path)] == [prediction(id) for id in "abc"]
    assert log.segments()[-1] == alive  # its writer has died

    for path in found:
        log.delete(path)
        log.delete(path)
    assert log.segments() == [alive]


@pytest.mark.parametrize("tail", [b"\0" * 64, b"\x08\0\0\0", b"\x01\0"])
def test_zeros_and_cut_lengths_after_a_power_loss_end_the_segment(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "1-1-1.seg"
    path.write_bytes(encode(prediction("a")) + tail)
    assert ObservationLog(tmp_path).read(path) == [prediction("a")]


def test_a_damaged_segment_says_so_and_can_be_set_aside(tmp_path: Path) -> None:
    log = ObservationLog(tmp_path)
    path = tmp_path / "1-1-1.seg"
    path.write_bytes(b"\x03\0\0\0abc" + encode(prediction("a")))
    with pytest.raises(CorruptObject, match=r"1-1-1\.seg is damaged"):
        log.read(path)
    assert log.set_aside(path).read_bytes().startswith(b"\x03")
    assert log.segments() == []
