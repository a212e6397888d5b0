"""The log of rows: durable before it answers, each request once, bounded, whole after any end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.rows import Format, Frame, encode, frames
from conveyor.errors import Conflict, NoSpace, Overloaded
from conveyor.stores import rowlog
from conveyor.stores.rowlog import RowLog

DATASET = "shop/orders"
MB = 2**20


def rows(log: RowLog) -> list[bytes]:
    log.seal(DATASET, older=0)
    found = [frames(path.read_bytes()) for path in log.sealed(DATASET)]
    return [frame.payload for each in found for frame, _ in each]


@given(
    st.lists(st.builds(Frame, st.binary(), st.binary(min_size=16, max_size=16))), st.integers(0, 10_000), st.binary()
)
def test_frames_come_back_and_a_torn_end_does_not(given_: list[Frame], cut: int, noise: bytes) -> None:
    raw = b"".join(encode(frame) for frame in given_)
    assert [frame for frame, _ in frames(raw)] == given_
    torn = list(frames(raw[: min(cut, len(raw))]))
    assert [frame for frame, _ in torn] == given_[: len(torn)]
    assert all(end <= cut for _, end in torn)
    assert [frame for frame, _ in frames(raw + noise[:30])][: len(given_)] == given_


def test_a_request_is_taken_once_also_after_a_restart(tmp_path: Path) -> None:
    log = RowLog(tmp_path, MB)
    assert log.append(DATASET, Format.NDJSON, "k1", b"one\n").result(5) is True
    assert log.append(DATASET, Format.NDJSON, "", b"free\n").result(5) is True
    assert log.append(DATASET, Format.NDJSON, "", b"free\n").result(5) is True
    assert log.append("shop/other", Format.NDJSON, "k1", b"two\n").result(5) is True
    burst = [log.append(DATASET, Format.NDJSON, "k2", b"burst\n") for _ in range(20)]
    assert [done.result(5) for done in burst].count(True) == 1
    assert log.append(DATASET, Format.NDJSON, "k1", b"one\n").result(5) is False
    with pytest.raises(Conflict, match="came with other rows"):
        log.append(DATASET, Format.NDJSON, "k1", b"other\n").result(5)
    assert rows(log) == [b"one\n", b"free\n", b"free\n", b"burst\n"]
    again = RowLog(tmp_path, MB)
    assert again.size > 0
    assert again.append(DATASET, Format.NDJSON, "k2", b"burst\n").result(5) is False
    for segment in again.sealed(DATASET):
        kept = again.keys(segment)
        again.delete(segment)
        again.delete(segment)
        third = RowLog(tmp_path, MB)
        third.remember(DATASET, kept)
        assert third.append(DATASET, Format.NDJSON, "k2", b"burst\n").result(5) is False


def test_what_is_too_much_is_refused_until_there_is_room(tmp_path: Path) -> None:
    log = RowLog(tmp_path, 1000)
    assert log.append(DATASET, Format.NDJSON, "a", b"x" * 700).result(5)
    with pytest.raises(Overloaded) as refused:
        log.append(DATASET, Format.NDJSON, "b", b"x" * 700)
    assert refused.value.retry_after
    assert rows(log) == [b"x" * 700]
    log.delete(log.sealed(DATASET)[0])
    assert log.size == 0
    assert log.append(DATASET, Format.NDJSON, "b", b"x" * 700).result(5)


def test_a_full_disk_and_a_failing_one_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RowLog(tmp_path, MB)
    assert log.append(DATASET, Format.NDJSON, "a", b"before\n").result(5)
    with monkeypatch.context() as patch:
        usage = namedtuple("usage", "total used free")
        patch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 0))
        with pytest.raises(NoSpace, match="the disk is full"):
            log.append(DATASET, Format.NDJSON, "b", b"full\n").result(5)
    with monkeypatch.context() as patch:

        def fails(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(rowlog.os, "fsync", fails)
        with pytest.raises(NoSpace, match="Input/output error"):
            log.append(DATASET, Format.NDJSON, "b", b"broken\n").result(5)
    assert log.append(DATASET, Format.NDJSON, "b", b"after\n").result(5)
    assert rows(log) == [b"before\n", b"after\n"]


CLIENT = """
import sys
from pathlib import Path
from conveyor.domain.rows import Format
from conveyor.stores.rowlog import RowLog
log, start = RowLog(Path(sys.argv[1]), 2**30), int(sys.argv[2])
for number in range(start, 10**9, 8):
    numbers = range(number, number + 8)
    burst = [log.append("shop/orders", Format.NDJSON, str(n), b"%d\\n" % n * 50) for n in numbers]
    for n, done in zip(numbers, burst):
        done.result()
        print(n, flush=True)
"""


def test_what_was_answered_survives_a_kill_and_a_retry_adds_nothing(tmp_path: Path) -> None:
    chance, start, answered = random.Random(1), 0, 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(tmp_path), str(start)], stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout
            for _ in range(chance.randint(1, 400)):
                answered = int(client.stdout.readline())
            os.kill(client.pid, signal.SIGKILL)
            answered = max([answered, *(int(line) for line in client.stdout if line.endswith("\n"))])
        start = max(0, answered - 20)  # a client that sends what it is not sure of again
    log = RowLog(tmp_path, 2**30)
    found = [int(payload.split(b"\n")[0]) for payload in rows(log)]
    assert len(found) == len(set(found))
    assert set(range(answered + 1)) <= set(found)
    assert max(found) <= answered + 16


def test_a_log_takes_over_what_another_process_leaves_later(tmp_path: Path) -> None:
    code = CLIENT.replace("print(n, flush=True)", "print(n, flush=True) if n < 50 else __import__('time').sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "0"], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        while int(client.stdout.readline()) < 49:
            pass
        log = RowLog(tmp_path, 2**30)
        assert log.sealed(DATASET) == []  # its writer lives
        client.kill()
    assert len(log.sealed(DATASET)) == 1
    assert log.append(DATASET, Format.NDJSON, "7", b"7\n" * 50).result(5) is False
