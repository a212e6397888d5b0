"""Against a real Envoy, with two small servers behind it."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.routing import Bin, Cluster, ClusterStats, Route, Routing, Weighted, quantile
from conveyor.effects.envoy import Envoy
from conveyor.effects.ports import free_port
from conveyor.errors import Refused, Unavailable


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@dataclass
class Backend:
    """Answers with its name; `/slow` after 0.3 s, `/broken` with 500, `/healthz` as told."""

    name: str
    healthy: bool = True
    seen: Counter[str] = field(default_factory=Counter)
    pairs: list[str] = field(default_factory=list)  # what `/paired` was asked with

    def __post_init__(self) -> None:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                backend.seen[self.path] += 1
                if self.path == "/paired":
                    backend.pairs.append(self.headers.get("x-conveyor-pair", ""))
                sent = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path.endswith("/slow"):
                    time.sleep(0.3)
                bad = self.path.endswith("/broken") or (self.path == "/healthz" and not backend.healthy)
                body = backend.name.encode() + b":" + sent
                self.send_response(500 if bad else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_port)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def cluster(self, name: str) -> Cluster:
        return Cluster(name, (self.port,), "/healthz")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Proxy:
    envoy: Envoy
    port: int
    process: subprocess.Popen[bytes]

    def get(
        self, path: str, host: str = "localhost", method: str = "GET", more: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers={"Host": host, **(more or {})})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body

    def healthy(self, name: str) -> bool:
        found = self.envoy.clusters().get(name)
        return found is not None and found.healthy == found.total > 0

    def route(self, routing: Routing) -> None:
        version = self.envoy.apply(routing)
        eventually(lambda: self.envoy.applied_routes() == version)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    port = free_port()
    envoy = Envoy(tmp_path / "envoy", port)
    envoy.write_bootstrap()
    with (tmp_path / "envoy.log").open("wb") as log:
        found = Proxy(envoy, port, subprocess.Popen(envoy.argv(), stdout=log, stderr=log))
    try:
        eventually(envoy.ready)
        yield found
    finally:
        found.process.kill()
        found.process.wait()


@pytest.fixture
def backends() -> Iterator[tuple[Backend, Backend]]:
    pair = Backend("a"), Backend("b")
    yield pair
    for backend in pair:
        backend.close()


def test_what_a_request_meets(proxy: Proxy, backends: tuple[Backend, Backend], tmp_path: Path) -> None:
    a, b = backends
    status, headers, body = proxy.get("/")
    assert (status, headers["content-type"]) == (404, "application/json")
    assert json.loads(body)["error"]["code"] == "not_found"
    assert proxy.envoy.stats(["nobody"]) == {}

    clusters = (a.cluster("a-1"), b.cluster("b-1"))
    proxy.envoy.apply(Routing(clusters))
    eventually(lambda: proxy.healthy("a-1") and proxy.healthy("b-1"))
    routes = (
        Route("*", "/", (Weighted("a-1", 1, "7"), Weighted("b-1", 0, "8"))),
        Route("*", "/pay", (Weighted("b-1", 100, "100%"),), mirror="a-1"),
        Route("*", "/soon", ()),
        Route("shop.example", "/", (Weighted("b-1", 1, "named"),)),
        Route("*", "/brief", (Weighted("a-1", 1, "7"),), timeout=0.1),
        Route("*", "/quiet", (Weighted("a-1", 1, "7"),), idle=0.1),
    )
    proxy.route(Routing(clusters, routes))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "envoy").glob("*.json")}
    proxy.route(Routing(clusters[::-1], routes[::-1]))
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "envoy").glob("*.json")}

    status, headers, body = proxy.get("/payments")
    assert (status, headers["x-conveyor-version"], body) == (200, "7", b"a:")
    assert "server" not in headers
    assert not [key for key in headers if key.startswith("x-envoy")]
    assert proxy.get("/pay/1")[1]["x-conveyor-version"] == "100%"
    assert proxy.get("/pay")[2] == b"b:"
    eventually(lambda: a.seen["/pay/1"] == 1 and a.seen["/pay"] == 1)
    assert proxy.get("/", "shop.example:80")[1]["x-conveyor-version"] == "named"
    status, headers, body = proxy.get("/brief/slow")
    assert (status, headers["x-conveyor-version"]) == (504, "7"), "a failure names the version that failed"
    assert json.loads(body)["error"]["retryable"] is True
    assert proxy.get("/quiet/slow")[0] == 504
    assert proxy.get("/soon")[0] == 503
    assert proxy.get("/pay/broken")[0] == 500

    eventually(lambda: not math.isnan(proxy.envoy.stats(["b-1"])["b-1"].p99_ms))
    stats = proxy.envoy.stats(["a-1", "b-1"])
    assert (stats["b-1"].requests, stats["b-1"].errors_5xx, stats["b-1"].active) == (4, 1, 0)
    assert 0 <= stats["b-1"].p50_ms <= stats["b-1"].p99_ms
    assert (stats["a-1"].requests, stats["a-1"].errors_5xx) == (5, 2), "one timed out, one mirrored answer was a 500"

    with pytest.raises(Refused, match="c-1"):
        proxy.envoy.apply(Routing(clusters, (Route("*", "/", (Weighted("c-1", 1, "9"),)),)))

    b.healthy = False
    eventually(lambda: not proxy.healthy("b-1"))
    status, headers, body = proxy.get("/pay")
    assert (status, headers["x-conveyor-version"]) == (503, "100%"), "no traffic to the unhealthy, ever"
    b.healthy = True
    eventually(lambda: proxy.healthy("b-1"))
    assert proxy.get("/pay")[0] == 200

    # A crash, and all that is known is in the files.
    version = proxy.envoy.applied_routes()
    proxy.process.kill()
    proxy.process.wait()
    assert not proxy.envoy.ready()
    with pytest.raises(Unavailable):
        proxy.envoy.clusters()
    proxy.process = subprocess.Popen(proxy.envoy.argv(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(proxy.envoy.ready)
    eventually(lambda: proxy.healthy("b-1"))
    assert proxy.envoy.applied_routes() == version
    assert proxy.get("/pay")[0] == 200


def test_who_meets_a_canary(proxy: Proxy, backends: tuple[Backend, Backend]) -> None:
    """A sticky client stays on its side while the share grows; a shadow gets copies of what changes nothing."""
    a, b = backends
    clusters = (a.cluster("a"), b.cluster("b"))
    proxy.envoy.apply(Routing(clusters))
    eventually(lambda: proxy.healthy("a") and proxy.healthy("b"))

    def split(share: int, sticky: str) -> None:
        parts = (Weighted("a", 100 - share, "a"), Weighted("b", share, "b"))
        proxy.route(Routing(clusters, (Route("*", "/", parts, sticky=sticky),)))

    def sent(**headers: str) -> tuple[bytes, str]:
        status, answered, body = proxy.get("/", more=headers)
        assert status == 200
        return body, answered.get("set-cookie", "").partition(";")[0]

    split(30, "cookie")
    first = [sent() for _ in range(60)]
    cookies = [cookie for _, cookie in first]
    assert {body for body, _ in first} == {b"a:", b"b:"}
    assert len(set(cookies)) == 60
    assert all(cookie.startswith("conveyor-canary=") for cookie in cookies)
    for body, cookie in first:
        assert {sent(cookie=cookie)[0] for _ in range(3)} == {body}
    split(60, "cookie")
    grown = [sent(cookie=cookie)[0] for cookie in cookies]
    assert all(now == b"b:" for (before, _), now in zip(first, grown, strict=True) if before == b"b:")
    assert grown.count(b"b:") > [body for body, _ in first].count(b"b:")
    split(50, "x-user")
    for user in map(str, range(20)):
        assert len({sent(**{"x-user": user})[0] for _ in range(4)}) == 1
    assert {sent(**{"x-user": user})[0] for user in map(str, range(20))} == {b"a:", b"b:"}

    proxy.route(Routing(clusters, (Route("*", "/", (Weighted("a", 100, "a"),), mirror="b", sticky="cookie"),)))
    before = b.seen["/"]
    assert proxy.get("/", method="POST")[2] == b"a:"
    assert "set-cookie" not in proxy.get("/")[1]
    eventually(lambda: b.seen["/"] == before + 1)
    time.sleep(0.1)  # the copy of the POST would have come
    assert b.seen["/"] == before + 1
    proxy.route(Routing(clusters, (Route("*", "/", (Weighted("a", 100, "a"),), mirror="b", mirrors_all=True),)))
    assert proxy.get("/", method="POST")[2] == b"a:"
    eventually(lambda: b.seen["/"] == before + 2)
    mirrored = Route("*", "/", (Weighted("a", 100, "a"),), mirror="b", mirrors_all=True, pairs="p/production/7")
    proxy.route(Routing(clusters, (mirrored,)))
    for number in range(3):
        assert proxy.get("/paired", method="POST", more={"x-conveyor-pair": "forged", "x-request-id": "same"})[0] == 200
        eventually(lambda seen=number: len(b.pairs) == seen + 1)  # type: ignore[misc]
    assert a.pairs == b.pairs
    assert len(set(a.pairs)) == 3, "an id that a client gives is not taken for a pair"
    assert all(pair.rpartition(" ")[0] == "p/production/7" for pair in a.pairs)
    proxy.route(Routing(clusters, (Route("*", "/", (Weighted("a", 100, "a"),)),)))
    proxy.get("/paired", more={"x-conveyor-pair": "forged"})
    assert a.pairs[-1] == ""


class Clients:
    """16 threads: half keep their connection, half open one per request; GET, POST and slow requests."""

    def __init__(self, port: int) -> None:
        self.port, self.stop = port, threading.Event()
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self._work, args=(number,)) for number in range(16)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _work(self, number: int) -> None:
        keep, count = number % 2 == 0, 0
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stop.is_set():
            count += 1
            body = f"{number}.{count}" if number % 4 < 2 else ""
            path = "/slow" if number >= 14 else "/"
            try:
                connection.request("POST" if body else "GET", path, body=body or None)
                answer = connection.getresponse()
                text = answer.read().decode()
                who, _, echoed = text.partition(":")
                if answer.status != 200 or echoed != body:
                    self.failures.append(f"{answer.status} {text}")
                self.answers[f"{who}={answer.getheader('x-conveyor-version')}"] += 1
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))
            if not keep or self.failures:
                connection.close()
            time.sleep(0.005)
        connection.close()


def test_twenty_switches_lose_no_request(proxy: Proxy) -> None:
    """The order that the lead keeps: add, healthy, route, applied, drained, remove, stop the process."""
    live = Backend("0")
    clusters = (live.cluster("web-0"),)
    proxy.envoy.apply(Routing(clusters))
    eventually(lambda: proxy.healthy("web-0"))
    proxy.route(Routing(clusters, (Route("*", "/", (Weighted("web-0", 100, "0"),)),)))
    with Clients(proxy.port) as clients:
        for number in range(1, 21):
            fresh = Backend(str(number))
            old, new = f"web-{number - 1}", f"web-{number}"
            both = (*clusters, fresh.cluster(new))
            routes = (Route("*", "/", (Weighted(old, 100, str(number - 1)),)),)
            proxy.envoy.apply(Routing(both, routes))
            eventually(lambda new=new: proxy.healthy(new))  # type: ignore[misc]
            for share in (10, 50, 100):
                parts = (Weighted(old, 100 - share, str(number - 1)), Weighted(new, share, str(number)))
                proxy.route(Routing(both, (Route("*", "/", parts),)))
                target = sum(clients.answers.values()) + 20
                eventually(lambda target=target: sum(clients.answers.values()) > target)  # type: ignore[misc]
            eventually(lambda old=old: proxy.envoy.stats([old])[old].active == 0)  # type: ignore[misc]
            clusters = (fresh.cluster(new),)
            proxy.envoy.apply(Routing(clusters, (Route("*", "/", (Weighted(new, 100, str(number)),)),)))
            eventually(lambda old=old: old not in proxy.envoy.clusters())  # type: ignore[misc]
            live.close()
            live = fresh
    live.close()
    assert clients.failures == []
    assert set(clients.answers) == {f"{n}={n}" for n in range(21)}
    print(sum(clients.answers.values()), "requests")


def test_requests_in_flight_end_when_their_cluster_goes(proxy: Proxy, backends: tuple[Backend, Backend]) -> None:
    a, b = backends
    clusters = (a.cluster("a"), b.cluster("b"))
    proxy.envoy.apply(Routing(clusters))
    eventually(lambda: proxy.healthy("a") and proxy.healthy("b"))
    proxy.route(Routing(clusters, (Route("*", "/", (Weighted("a", 1, "a"),)),)))
    answers: list[tuple[int, dict[str, str], bytes]] = []
    threads = [threading.Thread(target=lambda: answers.append(proxy.get("/slow"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: proxy.envoy.stats(["a"])["a"].active == 4)
    # Both at once, and no wait for the drain: the requests that are under way still get their answer.
    proxy.envoy.apply(Routing(clusters[1:], (Route("*", "/", (Weighted("b", 1, "b"),)),)))
    for thread in threads:
        thread.join()
    assert [(status, body) for status, _, body in answers] == [(200, b"a:")] * 4
    assert proxy.get("/")[2] == b"b:"


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9)), max_size=20, unique_by=lambda pair: pair[0]))
def test_a_window_of_counters_is_what_came_in_between(more: list[tuple[int, int]]) -> None:
    bins = tuple(Bin(float(low), 1.0, 2) for low, _ in more)
    earlier = ClusterStats(2 * len(more), 1, quantile(bins, 0.5), quantile(bins, 0.99), 3, bins)
    later_bins = tuple(Bin(float(low), 1.0, 2 + count) for low, count in more)
    total = sum(count for _, count in more)
    later = ClusterStats(2 * len(more) + total, 4, 0.0, 0.0, 5, later_bins)
    window = later.since(earlier)
    assert (window.requests, window.errors_5xx, window.active) == (total, 3, 5)
    assert sum(bin_.count for bin_ in window.latencies) == total
    if total:
        assert min(low for low, count in more if count) <= window.p50_ms <= window.p99_ms
        assert window.p99_ms <= max(low for low, count in more if count) + 1
    else:
        assert math.isnan(window.p50_ms)
    assert earlier.since(later) == earlier or total == 0


def test_what_would_lose_requests_is_named() -> None:
    cluster = Cluster("a", (1,), "/")
    wrong = Routing(
        (cluster, cluster, Cluster("b:1", (1,), "/")),
        (Route("*", "x", (Weighted("a", -1, "1"),), mirror="z"), Route("*", "x", ())),
    )
    assert len(wrong.problems()) == 7
    assert Routing((cluster,), (Route("*", "/", (Weighted("a", 1, "1"),)),)).problems() == ()
