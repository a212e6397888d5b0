"""How each way that a request can end is counted, provoked one by one behind a real Envoy."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conveyor.domain.outcome import Outcomes, cause
from conveyor.domain.proxy import ProxyStats
from conveyor.domain.routing import Cluster, Route, Routing, Weighted
from conveyor.effects.envoy import Envoy
from conveyor.effects.ports import free_port

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: x\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\n"


def eventually(check: Callable[[], bool], what: object = "it") -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


class Process:
    """Speaks HTTP as badly as its path asks for."""

    def __init__(self) -> None:
        self.healthy = True
        self.ended = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """As when it is killed: nothing listens, every connection ends."""
        self.ended.set()
        self.listener.close()

    def _accept(self) -> None:
        self.listener.settimeout(0.05)
        while not self.ended.is_set():
            try:
                taken, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        taken.settimeout(0.05)
        said = b""
        with taken:
            while not self.ended.is_set():
                try:
                    more = taken.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                said += more
                if not more:
                    return
                while b"\r\n\r\n" in said:
                    head, _, said = said.partition(b"\r\n\r\n")
                    if not self._answer(taken, head.split()[1].decode()):
                        return

    def _answer(self, taken: socket.socket, path: str) -> bool:
        """False: the connection ends now."""
        if path == "/healthz":
            taken.sendall(OK if self.healthy else BAD)
        elif path == "/reset":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif path == "/half":
            taken.sendall(HALF)
            return False
        elif path == "/garbage":
            taken.sendall(b"hello world\r\n\r\n")
        elif path == "/socket-ends":
            taken.sendall(UPGRADED)
            self.ended.wait(0.2)
            return False
        elif path != "/hang":
            taken.sendall({"/bad": BAD, "/events": EVENTS, "/socket": UPGRADED}.get(path, OK))
        return True


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[tuple[Envoy, int]]:
    port = free_port()
    made = Envoy(tmp_path / "envoy", port)
    made.write_bootstrap()
    with (tmp_path / "envoy.log").open("wb") as log:
        process = subprocess.Popen(made.argv(), stdout=log, stderr=log)
    try:
        eventually(made.ready)
        yield made, port
    finally:
        process.kill()
        process.wait()


def live(envoy: Envoy, name: str, process: Process, timeout: float = 0.0) -> None:
    cluster = Cluster(name, (process.port,), "/healthz")
    envoy.apply(Routing((cluster,)))
    eventually(lambda: name in envoy.clusters() and envoy.clusters()[name].healthy == 1)
    version = envoy.apply(Routing((cluster,), (Route("*", "/", (Weighted(name, 1, name),), timeout=timeout),)))
    eventually(lambda: envoy.applied_routes() == version)


def get(port: int, path: str) -> int:
    """The status; 0 when the answer was broken off."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def opened(port: int, path: str, headers: bytes = b"") -> socket.socket:
    """A stream that is left open, once its answer has begun (a request for /hang has none)."""
    made = socket.create_connection(("127.0.0.1", port), timeout=30)
    made.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nhost: a\r\n" + headers + b"\r\n")
    if path != "/hang":
        assert made.recv(1000).startswith(b"HTTP/1.1 ")
    return made


def test_every_way_to_end_is_counted_once_under_its_own_name(envoy: tuple[Envoy, int]) -> None:
    proxy, port = envoy
    number = 0

    def case(act: Callable[[Process, str], None], timeout: float = 0.0, **expected: int) -> None:
        nonlocal number
        number += 1
        name, process = f"shop-production-service.web-{number}", Process()
        live(proxy, name, process, timeout)
        act(process, name)
        found = Outcomes()

        def counted() -> bool:
            nonlocal found
            found = proxy.look([name]).clusters[name].outcomes
            return found.ended >= 1

        eventually(counted, (number, expected))
        assert found == Outcomes(ended=1, **expected), (number, expected)
        assert proxy.look([name]).clusters[name].active == 0
        process.close()

    def ask(path: str, status: int) -> Callable[[Process, str], None]:
        def act(_process: Process, _name: str) -> None:
            assert get(port, path) == status

        return act

    def leave(path: str, headers: bytes = b"") -> Callable[[Process, str], None]:
        def act(_process: Process, name: str) -> None:
            stream = opened(port, path, headers)
            eventually(lambda: proxy.look([name]).clusters[name].active == 1)
            stream.close()

        return act

    def kill(path: str, headers: bytes = b"") -> Callable[[Process, str], None]:
        def act(process: Process, _name: str) -> None:
            with opened(port, path, headers) as stream:
                process.close()
                while stream.recv(1000):
                    pass

        return act

    def dead(process: Process, _name: str) -> None:
        process.close()
        time.sleep(0.2)  # its connections have ended; the next health check is still to come
        assert get(port, "/") == 503

    def sick(process: Process, name: str) -> None:
        process.healthy = False
        eventually(lambda: proxy.clusters()[name].healthy == 0)
        assert get(port, "/") == 503

    case(ask("/", 200))
    case(ask("/bad", 500), errors=1)
    case(ask("/reset", 503), reset=1)
    case(ask("/garbage", 502), reset=1)
    case(ask("/half", 0), cut_streams=1)
    case(ask("/hang", 504), timeout=0.3, timed_out=1)
    case(dead, refused=1)  # after two retries, which are not counted
    case(sick, no_healthy=1)
    case(leave("/hang"), aborted_by_client=1)
    case(leave("/events"), aborted_by_client=1)
    case(leave("/socket", UPGRADE), aborted_by_client=1)
    case(kill("/events"), cut_streams=1)
    case(kill("/socket", UPGRADE), sockets_closed=1)
    case(kill("/socket-ends", UPGRADE), sockets_closed=1)

    proxy.apply(Routing())
    eventually(lambda: get(port, "/") == 404)
    whole = proxy.look([])
    assert whole.clusters == {}
    assert whole.unrouted.ended >= 1
    assert whole.unrouted.failed == 0
    assert (whole.requests >= number, whole.active, whole.routes_loaded is not None) == (True, 0, True)
    kept = proxy.look(["shop-production-service.web-2"]).clusters["shop-production-service.web-2"]
    assert kept.outcomes == Outcomes(ended=1, errors=1), "what was counted outlives the cluster"


def test_mirrored_copies_are_nobodys_requests(envoy: tuple[Envoy, int]) -> None:
    proxy, port = envoy
    old, new = Process(), Process()
    clusters = (Cluster("old", (old.port,), "/healthz"), Cluster("new", (new.port,), "/healthz"))
    proxy.apply(Routing(clusters))
    eventually(lambda: {n for n, health in proxy.clusters().items() if health.healthy} == {"old", "new"})
    version = proxy.apply(Routing(clusters, (Route("*", "/", (Weighted("old", 1, "1"),), mirror="new"),)))
    eventually(lambda: proxy.applied_routes() == version)
    for _ in range(5):
        assert get(port, "/") == 200
    seen = ProxyStats()

    def arrived() -> bool:
        nonlocal seen
        seen = proxy.look(["old", "new"])
        return seen.clusters["new"].requests == 5 and seen.clusters["old"].outcomes.ended == 5

    eventually(arrived)
    assert seen.clusters["new"].outcomes == Outcomes()
    old.close()
    new.close()


@pytest.mark.parametrize(
    ("code", "flags", "expected"),
    [
        (404, "-", ""),
        (503, "-", "errors"),
        (503, "URX,UF", "refused"),
        (503, "UO", "overloaded"),
        (200, "UT", "timed_out"),
        (0, "UC", "reset"),
        (400, "DPE", ""),
        (500, "OM", "other"),
    ],
)
def test_causes_by_status_and_flags(code: int, flags: str, expected: str) -> None:
    assert cause(code, flags) == expected
