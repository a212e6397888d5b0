"""A model server of several processes: the parent accepts connections and hands each to the worker with the fewest.

(Workers that accept by themselves share badly: the one that is awake is always first.) The parent loads no model and
answers nothing; it replaces workers that die. Workers end when the parent does, whatever ended it.
"""

from __future__ import annotations

import errno
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conveyor.domain import wire
from conveyor.errors import Conflict
from conveyor.serving import cells
from conveyor.serving.options import Inherited

BACKLOG = 1024
CONNECTION, SHED = b"c", b"s"  # what a worker is told: here is a connection; another worker has come
READY, LEAVING = b"r", b"l"  # what it tells: it takes connections; it takes no more
DRAIN_SECONDS = 35.0  # a worker's own drain takes 30 at most
_YOUNG_SECONDS, _PAUSE_SECONDS, _TRIES = 1.0, 0.5, 5
_FULL_SECONDS = 0.05  # between two tries to accept with no file descriptor left


def bound(host: str, port: int) -> socket.socket:
    """Raises Conflict when the port cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (
            "is taken by another process" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror}"
        )
        raise Conflict(f"{host}:{port} {reason}", hint="give another --port") from error
    return listener


def bound_unix(path: Path) -> socket.socket:
    """In the place of one that a killed process left. Raises Conflict when it cannot be had."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Conflict(f"{path} cannot be bound: {error}", hint="give another --socket") from error
    return listener


@dataclass(slots=True)
class _Worker:
    slot: int
    process: subprocess.Popen[bytes]
    link: socket.socket
    begun: float
    ready: bool = False
    proved: bool = False  # it has been ready
    taken: int = 0  # connections


class Workers:
    """`argv`: what starts one worker, to which its inheritance is added."""

    def __init__(self, argv: Sequence[str], count: int, listeners: Sequence[socket.socket]) -> None:
        self._argv = argv
        self._count = count
        self._listeners = listeners
        self._handle = cells.shared(count)
        self._rows = cells.opened(self._handle, 0, count).rows
        self._selector = selectors.DefaultSelector()
        self._alive: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}  # slot -> when a worker is started in it
        self._failed = 0  # workers in a row that were never ready
        self._accepting = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code. The first worker must be ready before the others are started: why it
        cannot be is then said once."""
        told, tells = socket.socketpair()
        tells.setblocking(False)
        signal.set_wakeup_fd(tells.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # the byte that it writes is what counts
        for listener in self._listeners:
            listener.setblocking(False)
        self._selector.register(told, selectors.EVENT_READ)
        self._due[0] = 0.0
        while True:
            self._start_due()
            wait = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(wait):
                if key.fileobj is told:
                    return self._stop()
                if isinstance(key.data, _Worker):
                    if not self._heard(key.data) and self._hopeless(key.data):
                        self._stop()
                        return 1
                elif self._accepting:
                    self._accept(key.data)

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in [slot for slot, due in self._due.items() if due <= now]:
            del self._due[slot]
            self._start(slot)

    def _start(self, slot: int) -> None:
        mine, its = socket.socketpair()
        with its:
            inherited = wire.to_json(Inherited(its.fileno(), self._handle, slot, self._count)).decode()
            argv = [*self._argv, "--inherited", inherited]
            process = subprocess.Popen(argv, pass_fds=(its.fileno(), self._handle))
        mine.setblocking(False)
        self._rows[slot][cells.CLOSED] = 0
        worker = self._alive[slot] = _Worker(slot, process, mine, time.monotonic())
        self._selector.register(mine, selectors.EVENT_READ, worker)

    def _heard(self, worker: _Worker) -> bool:
        """Whether it said something; else it has ended."""
        try:
            said = worker.link.recv(1)
        except OSError:
            said = b""
        if not said:
            return False
        if said == LEAVING:
            worker.ready = False
            self._accept_while_ready()
            return True
        for other in self._alive.values():
            if other.ready:
                with suppress(OSError):  # it has just ended
                    other.link.send(SHED)
        worker.ready, worker.proved, self._failed = True, True, 0
        for slot in range(self._count):
            if slot not in self._alive:
                self._due.setdefault(slot, 0.0)
        self._accept_while_ready()
        return True

    def _hopeless(self, worker: _Worker) -> bool:
        """Takes leave of a worker that has ended; whether another in its place would be no better."""
        self._selector.unregister(worker.link)
        worker.link.close()
        del self._alive[worker.slot]
        code = worker.process.wait()
        if not worker.proved:
            self._failed += 1
            if code == 1 or self._failed >= _TRIES:  # it said why
                return True
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        print(f"conveyor.serving: worker {worker.slot} ended ({how}), another is started", file=sys.stderr, flush=True)
        young = time.monotonic() - worker.begun < _YOUNG_SECONDS
        self._due[worker.slot] = time.monotonic() + (_PAUSE_SECONDS if young else 0.0)
        self._accept_while_ready()
        return False

    def _accept_while_ready(self) -> None:
        """While no worker is ready connections wait in the listening sockets."""
        wanted = any(worker.ready for worker in self._alive.values())
        if wanted == self._accepting:
            return
        self._accepting = wanted
        for listener in self._listeners:
            if wanted:
                self._selector.register(listener, selectors.EVENT_READ, listener)
            else:
                self._selector.unregister(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection = listener.accept()[0]
        except OSError as error:  # or the client has left already
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_FULL_SECONDS)
            return
        with connection:
            for worker in sorted((each for each in self._alive.values() if each.ready), key=self._open):
                with suppress(OSError):  # it has just ended, or has not taken what it was handed before
                    socket.send_fds(worker.link, [CONNECTION], [connection.fileno()])
                    worker.taken += 1
                    return

    def _open(self, worker: _Worker) -> float:
        return worker.taken - self._rows[worker.slot][cells.CLOSED]

    def _stop(self) -> int:
        """Workers answer what they have begun; nothing new is taken."""
        for listener in self._listeners:
            listener.close()
        for worker in self._alive.values():
            worker.process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for worker in self._alive.values():
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        return 0
