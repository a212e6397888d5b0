"""The event loop that stays awake: when it does, and that it never misses what it waits for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from conveyor.serving.polling import AwakeSelector

AWAKE = 0.05


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        yield here, there


def processor_seconds(selector: AwakeSelector, timeout: float) -> float:
    before = time.thread_time()
    selector.select(timeout)
    return time.thread_time() - before


def test_it_stays_awake_only_after_a_short_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    with closing(AwakeSelector(AWAKE)) as selector:
        selector.register(here, 1, "here")
        assert processor_seconds(selector, 2 * AWAKE) < AWAKE / 2  # nothing has come yet: it sleeps
        there.send(b".")
        assert [key.data for key, _ in selector.select(None)] == ["here"]
        here.recv(1)
        begun = time.monotonic()
        assert processor_seconds(selector, 4 * AWAKE) > 0.0  # it has looked for a moment, then slept
        assert time.monotonic() - begun >= 4 * AWAKE * 0.99
        assert processor_seconds(selector, 2 * AWAKE) < AWAKE / 2  # the last wait was a long one


def test_a_timeout_is_kept_and_an_event_is_seen_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    with closing(AwakeSelector(AWAKE)) as selector:
        selector.register(here, 1)
        for timeout in (None, 0.0, -1.0, 10.0):
            there.send(b".")
            assert len(selector.select(timeout)) == 1
            here.recv(1)
        begun = time.monotonic()
        assert selector.select(AWAKE / 2) == []  # shorter than it would stay awake
        assert AWAKE / 2 * 0.99 <= time.monotonic() - begun < 10.0
        assert selector.select(0) == []
